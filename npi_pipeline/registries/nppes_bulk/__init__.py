"""The registry's own files (CMS' dissemination files) as a registry: what the API says of an NPI, without asking.

A *dissemination file* is one download of CMS: monthly, weekly, or the deactivation report. It is made into a *prepared
file* once: in the order of the NPIs and in the schema of the provider table (``store_schema``). The *snapshot* of a day
is made of the prepared files that were out by then; later ones win, row by row.
"""
