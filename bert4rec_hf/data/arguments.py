# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""Where the data is and how it is read."""

import os
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from transformers.utils import logging

from ..errors import DataError
from ..model.processing_bert4rec import Bert4RecProcessor
from .tables import is_on_the_hub, is_there
from .times import check_time_zone


logger = logging.get_logger(__name__)

FILES = ("history_data_file", "profile_data_file", "meta_data_file", "meta_data_plus_file")


TEXT = "text"  # the vector feature that text_features make
# What a checkpoint holds the result of: read for training alone.
FITTED = (
    *("meta_data_file", "meta_data_plus_file", "title_column", "item_features", "number_features", "vector_features"),
    *("text_features", "text_model", "keyword_value_column", "keyword_min_value", "keyword_max_length"),
    "time_intervals",
)


@dataclass
class DataArguments:
    """
    The location of the data and how it is read. All but the location is stored in the checkpoint, as the defaults for
    its later use.
    """

    _argument_group_name = "Data"

    data_dir: str = field(
        default=".", metadata={"help": "Folder of the files below, or a data set on the Hub, hf://datasets/user/name."}
    )
    history_data_file: list[str] = field(
        default_factory=lambda: ["history_data.csv"],
        metadata={"help": "The log: CSV, JSON lines or Parquet; files, folders or globs. One row is one viewing."},
    )
    profile_data_file: list[str] = field(
        default_factory=lambda: ["profile_data.csv"],
        metadata={"help": 'The profiles, or "none". One row is one user.'},
    )
    meta_data_file: list[str] = field(
        default_factory=lambda: ["meta_data.csv"], metadata={"help": 'The items, or "none".'}
    )
    meta_data_plus_file: list[str] = field(
        default_factory=lambda: ["meta_data_plus.csv"],
        metadata={"help": 'Item keywords, several rows per item, or "none".'},
    )
    user_column: str = field(default="profile_id", metadata={"help": "Column of the user ids."})
    item_column: str = field(default="album_id", metadata={"help": "Column of the item ids."})
    time_column: str = field(
        default="log_time",
        metadata={"help": "Column that orders the log: YYYYMMDDhhmmss, YYYYMMDD, epoch seconds or a timestamp."},
    )
    time_zone: str | None = field(
        default=None,
        metadata={
            "help": "Time zone of the days, such as Asia/Seoul: times without a zone are then UTC. Times with a zone "
            "of their own, other than UTC, keep their day."
        },
    )
    title_column: str = field(default="title", metadata={"help": "Column of the item titles, used where it exists."})
    item_features: list[str] = field(
        default_factory=lambda: ["genre_mid", "country", "keyword_name"],
        metadata={"help": 'Item columns the model learns from, of either item table ("none" for no features).'},
    )
    user_features: list[str] = field(
        default_factory=lambda: ["sex", "age"],
        metadata={"help": 'Profile columns the model learns from ("none" for no features).'},
    )
    number_features: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Those of these columns that hold numbers: a number is learnt with the numbers near it. A column "
            "of codes is none."
        },
    )
    vector_features: list[str] = field(
        default_factory=list,
        metadata={"help": "Item columns of lists of numbers, such as vectors of pictures, of one length in a column."},
    )
    text_features: list[str] = field(
        default_factory=list, metadata={"help": "Item columns of texts that --text_model makes a vector of."}
    )
    text_model: str | None = field(
        default=None,
        metadata={"help": "A model of sentence-transformers or model2vec: a folder, or an id on the Hub."},
    )
    keyword_value_column: str = field(
        default="keyword_value", metadata={"help": 'Weight of a keyword row, heaviest first, or "none".'}
    )
    keyword_min_value: float = field(default=3.0, metadata={"help": "Keyword rows below this weight are left out."})
    keyword_max_length: int | None = field(
        default=None,
        metadata={
            "help": "Maximum number of values of a feature; by default all, but where a few items alone have many."
        },
    )
    multi_value_separator: str | None = field(
        default=None, metadata={"help": 'Separates several values in the text of a feature, such as "|".'}
    )
    time_intervals: Literal["none", "input", "attention"] = field(
        default="none",
        metadata={
            "help": "Learn from the time between events, and from the moment to recommend for: at the input, or in "
            "the attention too."
        },
    )
    delimiter: str = field(default=",", metadata={"help": "Delimiter of CSV files."})
    encoding: str = field(default="utf-8", metadata={"help": "Encoding of CSV files, such as cp949."})
    keep_duplicates: bool = field(
        default=False, metadata={"help": "Keep rows that are equal in user, item and time, as where times are days."}
    )
    collapse_repeats: bool = field(
        default=False, metadata={"help": "Keep one of several consecutive viewings of the same item."}
    )
    min_events: int = field(
        default=0, metadata={"help": "Keep users and items with at least this many training events (k-core)."}
    )

    def __post_init__(self):
        for name in ("item_features", "user_features", "number_features", "vector_features", "text_features"):
            if getattr(self, name) == ["none"]:
                setattr(self, name, [])
        if self.text_features and TEXT in self.vector_features:
            raise DataError(f"vector_features {TEXT}: text_features make a vector of this name; rename the column.")
        for name in FILES:  # a list of one, as from the command line, is that file
            files = getattr(self, name)
            if not isinstance(files, str) and len(files) == 1:
                setattr(self, name, files[0])
        if self.keyword_max_length is not None and self.keyword_max_length < 1:
            raise DataError(f"keyword_max_length is {self.keyword_max_length}; it must be at least 1.")
        if len(self.delimiter.encode()) != 1 or self.delimiter in '\n\r\0"':
            raise DataError(f"delimiter is {self.delimiter!r}; it must be one character, and no line break or quote.")
        if self.multi_value_separator == "":
            raise DataError("multi_value_separator is empty; give what separates the values, such as '|'.")
        try:
            "\n".encode(self.encoding)
        except LookupError:
            raise DataError(f"encoding is {self.encoding!r}; give one that Python knows, such as cp949.") from None
        check_time_zone(self.time_zone)

    def rules(self) -> dict:
        """The arguments that are stored in a checkpoint: all but the folders, which are private."""
        rules = {name: value for name, value in asdict(self).items() if name != "data_dir"}
        return {name: _without_folder(value) for name, value in rules.items()}

    def path(self, file: str | list[str]) -> str | list[str] | None:
        """The path of one of the files, or the paths of several; `None` for "none"."""
        if not isinstance(file, str):
            return [self._path(part) for part in file]
        return None if file.lower() in ("", "none") else self._path(file)

    def _path(self, file: str) -> str:
        return file if is_on_the_hub(file) else os.path.join(self.data_dir, file)

    def submission_path(self, file: str | None) -> str | None:
        """
        The path of the file that lists whom to recommend to: of sample_submission.csv, if there is one, where none is
        named; `None` for all users.
        """
        default = self.path("sample_submission.csv")
        return self.path(file) if file is not None else default if is_there(default) else None

    def for_checkpoint(self, processor: Bert4RecProcessor) -> "DataArguments":
        """
        The arguments for reading the log of a trained model: without the item tables, which are in its processor,
        and, if it is not there, without the profile table that it was trained with.
        """
        changes = {"meta_data_file": "none", "meta_data_plus_file": "none"}
        changes |= {"item_features": [], "vector_features": [], "text_features": []}
        path = self.path(self.profile_data_file)
        if path and self.profile_data_file == (processor.data or {}).get("profile_data_file") and not is_there(path):
            logger.warning(f"{path}: there is no such file; all users are recommended to without a profile.")
            changes |= {"profile_data_file": "none", "user_features": []}
        return replace(self, **changes)


def _without_folder(value):
    if isinstance(value, list):
        return [_without_folder(part) for part in value]
    is_path = isinstance(value, str) and (os.path.isabs(value) or is_on_the_hub(value))
    return os.path.basename(value) if is_path else value
