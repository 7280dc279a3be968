# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A made-up children's video service, written in the schema of the original data.

python -m bert4rec_hf.data.sample_data ./data --num_profiles 1000 --num_albums 600 --num_rows 80000
"""

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from ..files import atomic_write
from .sample_service import (
    COUNTRIES,
    DAY,
    GENRE_NAMES,
    GENRES,
    KEYWORD_NAMES,
    MAX_REPEATS,
    NEXT_EPISODE,
    Catalogue,
    Events,
    Profiles,
    as_text,
    draw_activity,
    make_catalogue,
    make_profiles,
    make_sessions,
    watch,
)


KEYWORD_TYPES = np.array(["소재", "주제", "캐릭터"])
CAST_NAMES = "김하늘빛 이도담별 박새솔 최가온 정다온 강라온 조마루 윤아람 장한별 임슬아 오누리 서윤슬"
FILES_WITH_BOM = ("meta_data.csv", "profile_data.csv")


def write_sample_data(
    output_dir: str | Path,
    num_profiles: int = 1000,
    num_albums: int = 600,
    num_rows: int = 80_000,
    start: str = "2022-03-01",
    num_days: int = 61,
    seed: int = 0,
    dirt: bool = True,
) -> dict[str, int]:
    """
    Writes five CSV files of a made-up children's video service: `history_data.csv`, `profile_data.csv`,
    `meta_data.csv`, `meta_data_plus.csv` and `sample_submission.csv`. Every name in them is invented.

    Three signals can be learnt, each apart from the others: children watch a series in episode order; they move on to
    series that share a genre and keywords with what they watched; and their age and sex decide much of what they like.
    Popularity is Zipf-like and drifts, series and episodes are launched during the period, children re-watch, and some
    profiles have no event or one. Some albums are never watched.

    Args:
        output_dir (`str` or `Path`): Folder to write to, made if it is missing.
        num_profiles (`int`, *optional*, defaults to 1000): Rows of `profile_data.csv` and `sample_submission.csv`.
        num_albums (`int`, *optional*, defaults to 600): Size of the catalogue, at least 20.
        num_rows (`int`, *optional*, defaults to 80000): Rows of `history_data.csv`, dirt included.
        start (`str`, *optional*, defaults to `"2022-03-01"`): First day of the log, `YYYY-MM-DD`.
        num_days (`int`, *optional*, defaults to 61): Days of the log, at least 2.
        seed (`int`, *optional*, defaults to 0): The same seed and sizes give the same bytes.
        dirt (`bool`, *optional*, defaults to `True`): Whether to spoil the files the way the real ones are. History:
            unsorted; 2% of rows are exact duplicates and 2% are runs of up to 240 repeats of one album in one session;
            seconds run to 99, so 40% of `log_time` is no clock time (the order is kept); 4% of `ss_id` are later than
            the session's first event. Metadata: 2% of the watched albums are missing, 12% have 2 or 3 rows, 30% of
            countries are empty, 40% of genre names with a space lose it, 4% of `run_time` and some `cast_*` have
            another type. 2% of ages are "unknown". `meta_data.csv` and `profile_data.csv` start with a UTF-8
            byte-order mark.

    Returns:
        `dict[str, int]`: How many of each thing were written.
    """
    first_day = _check_sizes(num_profiles, num_albums, num_rows, start, num_days, seed)
    rng = np.random.default_rng(seed)
    num_duplicates = round(0.02 * num_rows) if dirt else 0
    num_repeats = round(0.02 * num_rows) if dirt else 0

    catalogue = make_catalogue(rng, num_albums, num_days)
    profiles = make_profiles(rng, num_profiles)
    num_events = draw_activity(rng, num_profiles, num_rows - num_duplicates - num_repeats)
    events = make_sessions(rng, num_events, first_day, num_days)
    watch(rng, catalogue, profiles, num_events, events)

    history, history_counts = _history_table(
        rng, catalogue, profiles, events, first_day, num_duplicates, num_repeats, dirt
    )
    profile_data, profile_counts = _profile_table(rng, profiles, dirt)
    watched = np.unique(events.album)
    missing = rng.choice(watched, -(-len(watched) // 50), replace=False) if dirt else watched[:0]
    meta_data, meta_counts = _meta_table(rng, catalogue, np.setdiff1d(np.arange(num_albums), missing), dirt)
    meta_data_plus = _keyword_table(rng, catalogue, np.setdiff1d(np.arange(num_albums), missing))
    submission = pa.table(
        {"profile_id": rng.permutation(profiles.profile_id), "predicted_list": pa.nulls(num_profiles, pa.string())}
    )

    tables = {
        "history_data.csv": history,
        "profile_data.csv": profile_data,
        "meta_data.csv": meta_data,
        "meta_data_plus.csv": meta_data_plus,
        "sample_submission.csv": submission,
    }
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        with atomic_write(str(output_dir / name)) as part, open(part, "wb") as file:
            file.write(b"\xef\xbb\xbf" if dirt and name in FILES_WITH_BOM else b"")
            pyarrow.csv.write_csv(table, file, pyarrow.csv.WriteOptions(quoting_style="needed"))

    return {
        "history_rows": history.num_rows,
        "profiles": num_profiles,
        "profiles_without_events": int((num_events == 0).sum()),
        "profiles_with_one_event": int((num_events == 1).sum()),
        "albums": num_albums,
        "series": len(catalogue.length),
        "albums_watched": len(watched),
        "albums_never_watched": num_albums - len(watched),
        "albums_without_metadata": len(missing),
        "metadata_rows": meta_data.num_rows,
        "keyword_rows": meta_data_plus.num_rows,
        "submission_rows": submission.num_rows,
        "files_with_byte_order_mark": len(FILES_WITH_BOM) if dirt else 0,
        **history_counts,
        **profile_counts,
        **meta_counts,
    }


def _check_sizes(
    num_profiles: int, num_albums: int, num_rows: int, start: str, num_days: int, seed: int
) -> datetime.date:
    sizes = {
        "num_profiles": (num_profiles, 1),
        "num_albums": (num_albums, 20),
        "num_rows": (num_rows, 1),
        "num_days": (num_days, 2),
        "seed": (seed, 0),
    }
    for name, (size, minimum) in sizes.items():
        if size < minimum:
            raise ValueError(f"{name} must be at least {minimum}, but is {size}.")
    try:
        first_day = datetime.date.fromisoformat(start)
        first_day + datetime.timedelta(days=num_days)
    except (ValueError, OverflowError):
        raise ValueError(f"start must be a date like 2022-03-01, with num_days after it, but is {start!r}.") from None
    return first_day


def _history_table(
    rng: np.random.Generator,
    catalogue: Catalogue,
    profiles: Profiles,
    events: Events,
    first_day: datetime.date,
    num_duplicates: int,
    num_repeats: int,
    dirt: bool,
) -> tuple[pa.Table, dict[str, int]]:
    num_events = len(events.album)
    started = events.second[events.starts_session]
    runs = rng.integers(24, MAX_REPEATS, num_repeats // 24 + 1, endpoint=True)
    runs = np.diff(np.minimum(np.cumsum(runs), num_repeats), prepend=0)
    runs = runs[runs > 0]
    repeated = np.repeat(rng.choice(num_events, len(runs), replace=False), runs)
    row = np.concatenate([np.arange(num_events), repeated])
    second = events.second[row]
    second[num_events:] += np.arange(num_repeats) - np.repeat(np.cumsum(runs) - runs, runs) + 1
    is_next = events.move[row] == NEXT_EPISODE
    is_next[num_events:] = False
    if dirt:
        started = started + (rng.random(len(started)) < 0.04) * rng.integers(1, 600, len(started))
    columns = {
        "profile_id": profiles.profile_id[events.profile[row]],
        "ss_id": _clock(started, first_day, dirt)[events.session[row]],
        "log_time": _clock(second, first_day, dirt),
        "act_target_dtl": pa.array(["ACT01", "ACT02", "ACT03", "ACT04"]).take(pa.array(events.move[row])),
        "album_id": catalogue.album_id[events.album[row]],
        "payment": pa.array(rng.choice([500, 1000, 1500, 2500], len(row)), mask=rng.random(len(row)) < 0.93),
        "continuous_play": _yes_no(is_next),
        "short_trailer": _yes_no(rng.random(len(row)) < 0.03),
    }
    if dirt:
        order = np.concatenate([np.arange(len(row)), rng.choice(len(row), num_duplicates, replace=False)])
        order = rng.permutation(order)
    else:
        order = np.lexsort((columns["log_time"], columns["profile_id"]))
    table = pa.table(columns).take(pa.array(order))
    log_time = table["log_time"].to_numpy()
    return table, {
        "duplicate_rows": num_duplicates,
        "repeat_rows": num_repeats,
        "invalid_log_times": int((log_time % 100 > 59).sum()),
        "late_session_ids": int((table["ss_id"].to_numpy() > log_time).sum()),
    }


def _clock(second: np.ndarray, first_day: datetime.date, dirt: bool) -> np.ndarray:
    """Seconds since the first day as `YYYYMMDDhhmmss`. With dirt the last two digits run to 99, in the same order."""
    day = np.datetime64(first_day) + second // DAY
    month = day.astype("datetime64[M]")
    day_of_month = (day - month).astype(np.int64) + 1
    months = month.astype(np.int64) + 1970 * 12
    date = months // 12 * 10_000 + (months % 12 + 1) * 100 + day_of_month
    hour, minute, last = second % DAY // 3600, second % 3600 // 60, second % 60
    last = (last + 1) * 5 // 3 - 1 if dirt else last
    return ((date * 100 + hour) * 100 + minute) * 100 + last


def _profile_table(rng: np.random.Generator, profiles: Profiles, dirt: bool) -> tuple[pa.Table, dict[str, int]]:
    order = np.argsort(profiles.profile_id)
    num_profiles = len(order)
    unknown = np.zeros(num_profiles, bool)
    if dirt:
        unknown[rng.choice(num_profiles, -(-num_profiles // 50), replace=False)] = True
    # Children name what they like, parents what suits the age; both are noisy and often left empty.
    liked = np.argsort(-profiles.genre_taste - rng.normal(0, 0.7, profiles.genre_taste.shape))[order, :3] + 1
    suited = (profiles.age[:, None] + rng.integers(0, 5, (num_profiles, 3)))[order] % 9 + 1
    columns = {
        "profile_id": profiles.profile_id[order],
        "sex": pa.array(["F", "M"]).take(pa.array(profiles.is_male[order].astype(np.int8))),
        "age": pc.if_else(unknown, "unknown", as_text(profiles.age[order])) if dirt else profiles.age[order],
    }
    for name, letter, codes in (("pr", "P", suited), ("ch", "K", liked)):
        for choice in range(3):
            code = pc.binary_join_element_wise(letter, pc.utf8_lpad(as_text(codes[:, choice]), 2, "0"), "")
            empty = rng.random(num_profiles) < 0.1 * choice
            columns[f"{name}_interest_keyword_cd_{choice + 1}"] = _emptied(code, empty)
    return pa.table(columns), {"unknown_ages": int(unknown.sum())}


def _meta_table(
    rng: np.random.Generator, catalogue: Catalogue, albums: np.ndarray, dirt: bool
) -> tuple[pa.Table, dict[str, int]]:
    albums = albums[np.argsort(catalogue.album_id[albums])]
    num_distinct = len(albums)
    if dirt:
        has_more = rng.random(num_distinct) < 0.12
        has_more[rng.integers(num_distinct)] = True
        albums = np.repeat(albums, 1 + has_more * rng.integers(1, 3, num_distinct))
    num_rows = len(albums)
    series, episode = catalogue.series[albums], catalogue.episode[albums]
    genre = catalogue.genre[series]
    is_film = catalogue.length[series] == 1

    series_title = catalogue.title.take(pa.array(series))
    number = pc.binary_join_element_wise(as_text(episode + 1), "화", "")
    title = pc.if_else(is_film, series_title, pc.binary_join_element_wise(series_title, number, " "))
    topic = KEYWORD_NAMES[genre * 6 + rng.integers(6, size=num_rows)]
    smalls = np.array([smalls for _, smalls, _, _ in GENRES.values()])
    genre_mid = pa.array(GENRE_NAMES[genre])
    joined = np.zeros(num_rows, bool)
    country = pa.array(COUNTRIES[catalogue.country[series]])
    no_country = np.zeros(num_rows, bool)
    run_time = (300 + 97 * catalogue.genre[series] + rng.integers(0, 240, num_rows)) * np.where(is_film, 5, 1)
    other_run_time = np.zeros(num_rows, bool)
    if dirt:
        joined = (rng.random(num_rows) < 0.4) & np.char.count(GENRE_NAMES, " ").astype(bool)[genre]
        genre_mid = pc.if_else(joined, pc.replace_substring(genre_mid, " ", ""), genre_mid)
        no_country = rng.random(num_rows) < 0.3
        other_run_time = rng.random(num_rows) < 0.04
        minutes = pc.binary_join_element_wise(as_text(run_time // 60), "분", "")
        run_time = pc.if_else(other_run_time, minutes, as_text(run_time))
    onair_year = 2008 + catalogue.album_id[catalogue.first_album[series]] % 14
    columns = {
        "album_id": catalogue.album_id[albums],
        "title": title,
        "sub_title": pc.binary_join_element_wise(pa.array(topic), "이야기", " "),
        "genre_large": pa.array([large for large, *_ in GENRES.values()]).take(pa.array(genre)),
        "genre_mid": genre_mid,
        "genre_small": smalls[genre, rng.integers(2, size=num_rows)],
        "country": _emptied(country, no_country),
        "run_time": run_time,
        "onair_date": _emptied(pa.array(onair_year * 10_000 + 101 + episode % 12 * 100), rng.random(num_rows) < 0.2),
    }
    names = np.array(CAST_NAMES.split())
    for number in range(1, 8):
        cast = pa.array(names[(series + number) % len(names)])
        if dirt and number > 3:
            cast = pc.if_else(rng.random(num_rows) < 0.1, str(number), cast)  # a number among names
        columns[f"cast_{number}"] = _emptied(cast, rng.random(num_rows) < 0.7 + 0.04 * number)
    return pa.table(columns), {
        "extra_metadata_rows": num_rows - num_distinct,
        "empty_countries": int(no_country.sum()),
        "other_genre_spellings": int(joined.sum()),
        "other_run_times": int(other_run_time.sum()),
    }


def _keyword_table(rng: np.random.Generator, catalogue: Catalogue, albums: np.ndarray) -> pa.Table:
    """The keywords of the series, a little different in every album, and a weak one of the album's own."""
    albums = albums[np.argsort(catalogue.album_id[albums])]
    values = catalogue.keyword_values[catalogue.series[albums]].astype(np.int64)
    values = np.where(values > 0, np.clip(values + rng.integers(-2, 3, values.shape), 1, 10), 0)
    own = (np.arange(len(albums)), rng.integers(len(KEYWORD_NAMES), size=len(albums)))
    values[own] = np.maximum(values[own], rng.integers(0, 5, len(albums)))
    row, keyword = np.nonzero(values)
    return pa.table(
        {
            "album_id": catalogue.album_id[albums][row],
            "keyword_type": KEYWORD_TYPES[keyword % 3],
            "keyword_name": KEYWORD_NAMES[keyword],
            "keyword_value": values[row, keyword],
        }
    )


def _yes_no(flags: np.ndarray) -> pa.Array:
    return pa.array(["N", "Y"]).take(pa.array(flags.astype(np.int8)))


def _emptied(values: pa.Array, empty: np.ndarray) -> pa.Array:
    return pc.if_else(empty, pa.scalar(None, values.type), values)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m bert4rec_hf.data.sample_data",
        description="Writes the five CSV files of a made-up video service.",
    )
    parser.add_argument("output_dir", help="folder to write the files to")
    parser.add_argument("--num_profiles", type=int, default=1000, help="number of child profiles (%(default)s)")
    parser.add_argument("--num_albums", type=int, default=600, help="albums in the catalogue (%(default)s)")
    parser.add_argument("--num_rows", type=int, default=80_000, help="rows of history_data.csv (%(default)s)")
    parser.add_argument("--start", default="2022-03-01", help="first day of the log (%(default)s)")
    parser.add_argument("--num_days", type=int, default=61, help="days of the log (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same files (%(default)s)")
    parser.add_argument("--dirt", action=argparse.BooleanOptionalAction, default=True, help="spoil the files or not")
    options = vars(parser.parse_args(arguments))
    try:
        counts = write_sample_data(**options)
    except ValueError as error:
        parser.exit(2, f"error: {error}\n")
    for name, count in counts.items():
        print(f"{name}: {count:,}")


if __name__ == "__main__":
    main()
