# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""One-line errors for the user."""

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    HTTPError,  # of the HTTP client that huggingface_hub uses
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


class DataError(ValueError):
    """Invalid input: the message is one line for the user, whatever the input contains."""

    def __init__(self, message: str):
        # Quoted input may be long, or contain line breaks or terminal control codes.
        message = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
        super().__init__(message if len(message) <= 1000 else f"{message[:700]} ... {message[-200:]}")


def one_line(error: Exception) -> str:
    """The last line of an error's text: the first lines of StrictDataclassError and others do not help a user."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip().removeprefix("ValueError: ")


@contextmanager
def hub_errors(repo_id: str, pushing: bool = False) -> Iterator[None]:
    """
    Turns errors of the Hub and the network into one line.

    Args:
        repo_id (`str`): beginning of the line.
        pushing (`bool`, *optional*, defaults to `False`): whether it is pushed to.

    Raises:
        `DataError`: instead of the errors of huggingface_hub and of the network.
    """
    try:
        yield
    except (
        HFValidationError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        EntryNotFoundError,
        HTTPError,
    ) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        no_folder = "" if pushing or repo_id.startswith("hf://") else "there is no such folder, and "
        if isinstance(error, HFValidationError):
            reason = f"{no_folder}an id on the Hub looks like 'name' or 'user/name'"
        elif isinstance(error, RevisionNotFoundError):
            reason = "the repository has no such revision"
        elif isinstance(error, RepositoryNotFoundError):
            reason = f"{no_folder}no such repository on the Hub that the token may {'write to' if pushing else 'see'}"
        elif isinstance(error, LocalTokenNotFoundError) or status == 401:
            reason = "the Hub wants a valid token; log in with 'hf auth login' or set HF_TOKEN"
        elif status is not None:
            reason = f"the Hub refuses: {getattr(error, 'server_message', None) or one_line(error)}"
        elif isinstance(error, OfflineModeIsEnabled) or constants.is_offline_mode():
            reason = "HF_HUB_OFFLINE is set" + ("" if pushing else ", and the cache does not have it")
        else:
            reason = f"the Hub at {constants.ENDPOINT} cannot be reached"
        raise DataError(f"{repo_id}: {reason.rstrip('.')}." + " Nothing here is lost." * pushing) from error
