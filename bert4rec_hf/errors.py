# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""One-line errors for the user."""


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
