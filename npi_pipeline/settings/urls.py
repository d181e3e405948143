"""A URL in a setting: whether a request can be made to it, told without a word of it, for it may hold a key."""

from __future__ import annotations

import urllib.parse


def usable_url(url: str) -> str:
    """``url``, when a request can be made to it, or when it is empty. Raises ValueError, without a word of the URL.

    It is prepared as it will be for a request: later, what cannot be prepared would be told with all that it holds.
    """
    if not url:
        return url
    if not url.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    import requests

    try:
        is_whole = bool(urllib.parse.urlsplit(url).hostname)
        requests.Request("GET", url).prepare()
    except ValueError:
        # That of requests is a ValueError too.
        is_whole = False
    if not is_whole:
        # Not chained: the error names the URL.
        raise ValueError(
            "no request can be made to that URL; look at its host and port, and write / ? # @ : in a name or "
            "password as %2F %3F %23 %40 %3A"
        )
    return url
