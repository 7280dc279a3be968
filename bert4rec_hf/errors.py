# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Errors that are told to a person in one line."""


class DataError(ValueError):
    """Input that cannot be used: the message is one line for the person who gave it, whatever the input holds."""

    def __init__(self, message: str):
        # What it quotes may be long, break the line, or be written to a terminal as if by us.
        message = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
        super().__init__(message if len(message) <= 1000 else f"{message[:700]} ... {message[-200:]}")


def one_line(error: Exception) -> str:
    """The last line of an error's text: StrictDataclassError and others begin with what says nothing to the person."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].strip().removeprefix("ValueError: ")
