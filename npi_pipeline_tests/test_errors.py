"""The tree of errors: which there are, and which of them a step is tried again for."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import dagster as dg
import pytest

import npi_pipeline
from npi_pipeline.errors import PipelineError
from npi_pipeline.http_fetch.content_coding import BodyError
from npi_pipeline.orchestration.assets.conventions import StepInterrupted, one_line_failures
from npi_pipeline.providers.inferred import TooManyPathsError

# The first two are caught where they arise, the third is an interrupt.
NOT_TOLD = {BodyError, TooManyPathsError, StepInterrupted}
RETRYABLE = {"JournalError", "RegistryDownError"}


def errors_of_the_package() -> list[type[Exception]]:
    """Every class of an error that the package defines and others may know."""
    names = [module.name for module in pkgutil.walk_packages(npi_pipeline.__path__, "npi_pipeline.")]
    modules = [importlib.import_module(name) for name in names if not name.endswith("__main__")]
    found = {
        member
        for module in modules
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Exception)
        and member.__module__ == module.__name__
        and not member.__name__.startswith("_")
    }
    return sorted(found, key=lambda error: error.__qualname__)


def test_every_error_that_is_told_to_a_user_is_of_the_tree() -> None:
    outside = {error for error in errors_of_the_package() if not issubclass(error, PipelineError)}
    assert outside == NOT_TOLD


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    known = [error for error in errors_of_the_package() if issubclass(error, PipelineError)]
    assert len(known) > 15
    assert {error.__name__ for error in known if error.retryable} == RETRYABLE


@pytest.mark.parametrize("retryable", [True, False])
def test_an_error_of_the_tree_becomes_a_failure_with_its_line_that_is_tried_again_when_it_is_retryable(
    retryable: bool,
) -> None:
    with pytest.raises(dg.Failure) as failure, one_line_failures():
        raise PipelineError("the share is away; mount it", retryable=retryable)
    assert (failure.value.description, failure.value.allow_retries) == ("the share is away; mount it", retryable)
