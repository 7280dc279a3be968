# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import datetime
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest

from bert4rec_hf import write_sample_data
from bert4rec_hf.data.sample_data import _clock, main


FILES = ["history_data.csv", "meta_data.csv", "meta_data_plus.csv", "profile_data.csv", "sample_submission.csv"]
COLUMNS = {
    "history_data.csv": "profile_id ss_id log_time act_target_dtl album_id payment continuous_play short_trailer",
    "meta_data.csv": "album_id title sub_title genre_large genre_mid genre_small country run_time onair_date "
    "cast_1 cast_2 cast_3 cast_4 cast_5 cast_6 cast_7",
    "meta_data_plus.csv": "album_id keyword_type keyword_name keyword_value",
    "profile_data.csv": "profile_id sex age pr_interest_keyword_cd_1 pr_interest_keyword_cd_2 "
    "pr_interest_keyword_cd_3 ch_interest_keyword_cd_1 ch_interest_keyword_cd_2 ch_interest_keyword_cd_3",
    "sample_submission.csv": "profile_id predicted_list",
}
SIZES = {"num_profiles": 400, "num_albums": 500, "num_rows": 24_000}
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Sample:
    """What `write_sample_data` wrote and returned: `sample["meta_data", "title"]` is a column."""

    def __init__(self, folder: Path, **sizes):
        self.folder = folder
        self.counts = write_sample_data(folder, **sizes)
        self.tables = {name: pyarrow.csv.read_csv(folder / name) for name in FILES}

    def __getitem__(self, name):
        return self.tables[name[0] + ".csv"][name[1]].to_numpy()

    def bytes(self):
        return {name: (self.folder / name).read_bytes() for name in FILES}


class Views:
    """The views of a clean sample in order, with the series, episode, genre and profile of each."""

    def __init__(self, sample: Sample):
        self.profile, self.album = sample["history_data", "profile_id"], sample["history_data", "album_id"]
        self.continuous_play = sample["history_data", "continuous_play"] == "Y"
        titles = [re.fullmatch(r"(.*?)(?: (\d+)화)?", title).groups("1") for title in sample["meta_data", "title"]]
        meta_ids = sample["meta_data", "album_id"]
        row = np.searchsorted(meta_ids, self.album)
        self.series = np.unique([series for series, _ in titles], return_inverse=True)[1][row]
        self.episode = np.array([int(episode) for _, episode in titles])[row]
        self.genre = np.unique(sample["meta_data", "genre_mid"].astype(str), return_inverse=True)[1][row]
        self.row_of_profile = np.searchsorted(sample["profile_data", "profile_id"], self.profile)
        same_profile = self.profile[1:] == self.profile[:-1]
        self.before, self.after = np.flatnonzero(same_profile), np.flatnonzero(same_profile) + 1

    def is_next_episode(self, before, after):
        same_series = self.series[after] == self.series[before]
        return same_series & (self.episode[after] == self.episode[before] + 1)


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("dirty"), **SIZES)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return Sample(tmp_path_factory.mktemp("clean"), **SIZES, dirt=False)


@pytest.fixture(scope="module")
def views(clean):
    return Views(clean)


def is_duplicate(*columns):
    """Marks every row whose values occurred in an earlier row."""
    rows = np.stack(columns, axis=1)
    first = np.unique(rows, axis=0, return_index=True)[1]
    return ~np.isin(np.arange(len(rows)), first)


def is_clock_time(log_time):
    month, day, hour, minute, second = (log_time // 100**place % 100 for place in (4, 3, 2, 1, 0))
    return (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (hour < 24) & (minute < 60) & (second < 60)


# Sizes and seed


def test_same_seed_writes_the_same_bytes_and_another_seed_does_not(dirty, tmp_path):
    same, other = Sample(tmp_path / "same", **SIZES), Sample(tmp_path / "other", **SIZES, seed=1)
    assert same.bytes() == dirty.bytes()
    assert same.counts == dirty.counts
    for name in FILES:
        assert other.bytes()[name] != dirty.bytes()[name]


@pytest.mark.parametrize("sample", ["dirty", "clean"])
def test_sizes_and_columns_are_as_asked(sample, request):
    sample = request.getfixturevalue(sample)
    for name, columns in COLUMNS.items():
        assert sample.tables[name].column_names == columns.split()
    assert sample.tables["history_data.csv"].num_rows == SIZES["num_rows"]
    assert sample.tables["profile_data.csv"].num_rows == SIZES["num_profiles"]
    albums = np.union1d(sample["meta_data", "album_id"], sample["history_data", "album_id"])
    assert len(albums) == SIZES["num_albums"]
    assert set(sample["history_data", "profile_id"]) <= set(sample["profile_data", "profile_id"])
    for table, count in [("history_data", "history_rows"), ("meta_data", "metadata_rows")]:
        assert sample.counts[count] == sample.tables[table + ".csv"].num_rows


def test_log_covers_the_days_asked_for(tmp_path):
    log_time = Sample(tmp_path, **SIZES, start="2024-02-20", num_days=12)["history_data", "log_time"]
    days = np.unique(log_time // 10**6)
    assert days.tolist() == [*range(20240220, 20240230), 20240301, 20240302]


@pytest.mark.parametrize("dirt", [True, False])
@pytest.mark.parametrize("num_rows", [1, 30, 3000])
@pytest.mark.parametrize("num_profiles", [1, 40])
def test_smallest_sizes_work(tmp_path, num_profiles, num_rows, dirt):
    sample = Sample(tmp_path, num_profiles=num_profiles, num_albums=20, num_rows=num_rows, num_days=2, dirt=dirt)
    assert sample.tables["history_data.csv"].num_rows == num_rows
    assert set(sample["history_data", "log_time"] // 10**6) <= {20220301, 20220302}


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"num_profiles": 0}, "num_profiles must be at least 1, but is 0."),
        ({"num_albums": 19}, "num_albums must be at least 20, but is 19."),
        ({"num_rows": 0}, "num_rows must be at least 1, but is 0."),
        ({"num_days": 1}, "num_days must be at least 2, but is 1."),
        ({"start": "2022-13-01"}, "start must be a date like 2022-03-01"),
    ],
)
def test_senseless_sizes_are_refused_and_nothing_is_written(tmp_path, capsys, sizes, message):
    folder = tmp_path / "out"
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        write_sample_data(folder, **sizes)
    assert "\n" not in str(refusal.value)
    with pytest.raises(SystemExit) as stop:
        main([str(folder), *(f"--{name}={size}" for name, size in sizes.items())])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_command_writes_what_the_function_writes(dirty, tmp_path):
    flags = [f"--{name}={size}" for name, size in SIZES.items()]
    command = [sys.executable, "-m", "bert4rec_hf.data.sample_data", str(tmp_path), *flags]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "history_rows: 24,000" in output
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == dirty.bytes()


# Signals


def test_children_watch_the_next_episode(views):
    share = views.is_next_episode(views.before, views.after).mean()
    chance = views.is_next_episode(views.before, np.random.default_rng(0).permutation(views.after)).mean()
    assert share > 0.5
    assert share > 20 * chance


def test_continuous_play_marks_the_next_episode(views):
    is_next = views.is_next_episode(views.before, views.after)
    assert is_next[views.continuous_play[views.after]].all()
    assert is_next[~views.continuous_play[views.after]].mean() < 0.2


def test_album_ids_do_not_give_the_episode_order_away(views):
    is_next = views.is_next_episode(views.before, views.after)
    assert 0.4 < (views.album[views.after] > views.album[views.before])[is_next].mean() < 0.6


def test_a_new_series_shares_the_genre_of_the_one_before(views):
    switches = views.series[views.before] != views.series[views.after]
    profile = views.profile[views.after][switches]
    genre_before, genre_after = views.genre[views.before][switches], views.genre[views.after][switches]
    rng = np.random.default_rng(0)
    stays = (genre_before == genre_after).mean()
    assert stays > 1.5 * (genre_before == rng.permutation(genre_after)).mean()
    # Also more than the child's own taste explains: the same switches in another order.
    by_profile = np.argsort(profile, kind="stable")
    shuffled = np.lexsort((rng.random(len(profile)), profile))
    assert stays > 1.1 * (genre_before[by_profile] == genre_after[shuffled]).mean()


@pytest.mark.parametrize("feature", ["age", "sex"])
def test_age_and_sex_say_what_a_child_watches(clean, views, feature):
    group = np.unique(clean["profile_data", feature].astype(str), return_inverse=True)[1]

    def information(group):  # mutual information of a view's series and its child's group
        joint = np.zeros((group.max() + 1, views.series.max() + 1))
        np.add.at(joint, (group[views.row_of_profile], views.series), 1 / len(views.series))
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
        return (joint[joint > 0] * np.log(joint[joint > 0] / independent[joint > 0])).sum()

    rng = np.random.default_rng(0)
    assert information(group) > 1.5 * max(information(rng.permutation(group)) for _ in range(10))


def test_popularity_alone_is_weak_and_age_and_sex_improve_it(tmp_path):
    sample = Sample(tmp_path, dirt=False)
    views = Views(sample)
    is_last = np.append(views.profile[1:] != views.profile[:-1], True)
    ages, sexes = sample["profile_data", "age"], sample["profile_data", "sex"]
    group = np.unique(ages.astype(str) + sexes.astype(str), return_inverse=True)[1][views.row_of_profile]

    def recall(of_group):  # of the last view of each profile, in the 25 albums most viewed before
        known = views.album[~is_last & of_group]
        albums, counts = np.unique(known, return_counts=True)
        return np.isin(views.album[is_last & of_group], albums[np.argsort(-counts)[:25]])

    popular = recall(group >= 0).mean()
    popular_in_group = np.concatenate([recall(group == number) for number in np.unique(group)]).mean()
    assert 0.04 < popular < 0.25
    assert popular_in_group > 1.25 * popular


def test_children_rewatch(views):
    is_rewatch = is_duplicate(views.profile, views.album)
    assert 0.12 < is_rewatch.mean() < 0.3
    # Not only for lack of anything new: those who have seen little of the catalogue do so too.
    activity = np.bincount(views.row_of_profile)[views.row_of_profile]
    assert is_rewatch[activity < 50].mean() > 0.06


def test_activity_is_long_tailed(clean, views):
    activity = np.unique(views.profile, return_counts=True)[1]
    assert activity.max() > 5 * np.median(activity)
    assert clean.counts["profiles_without_events"] == SIZES["num_profiles"] - len(activity) > 0
    assert clean.counts["profiles_with_one_event"] == (activity == 1).sum() > 0


def test_sessions_have_several_views_five_to_thirty_minutes_apart(clean, views):
    session, log_time = clean["history_data", "ss_id"], clean["history_data", "log_time"]
    minutes = (log_time // 10**6 * 24 + log_time // 10**4 % 100) * 60 + log_time // 100 % 100 + log_time % 100 / 60
    same_session = session[views.before] == session[views.after]
    gap = (minutes[views.after] - minutes[views.before])[same_session]
    within_a_day = gap < 100  # the days of two months are not 24 * 60 apart in this count
    assert 0.7 < same_session.mean() < 0.9
    assert 4.9 < gap.min() and gap[within_a_day].max() < 30.1


def test_popularity_drifts(clean, views):
    log_time = clean["history_data", "log_time"]
    was_there = np.isin(views.series, views.series[log_time < 20220308000000])  # launches aside

    def change(is_later):  # the share of views that moved to other series
        earlier, later = (
            np.bincount(views.series[part & was_there], minlength=views.series.max() + 1)
            for part in (~is_later, is_later)
        )
        return abs(earlier / earlier.sum() - later / later.sum()).sum() / 2

    rng = np.random.default_rng(0)
    halves = [rng.permutation(SIZES["num_profiles"])[views.row_of_profile] % 2 == 0 for _ in range(20)]
    assert change(log_time >= 20220401000000) > 1.5 * np.mean([change(half) for half in halves])


def test_new_series_and_episodes_appear_in_the_period(clean, views):
    log_time = clean["history_data", "log_time"]
    first_view = np.full(views.series.max() + 1, 10**14)
    np.minimum.at(first_view, views.series, log_time)
    is_popular = np.bincount(views.series) > 100
    assert (first_view[is_popular] > 20220308000000).any()
    # Later episodes of a series that was there before: no view in March, many in April.
    march, april = (
        np.bincount(views.album[part], minlength=views.album.max() + 1)
        for part in (log_time // 10**8 == 202203, log_time // 10**8 == 202204)
    )
    is_old = np.isin(np.arange(len(march)), views.album[first_view[views.series] < 20220308000000])
    assert ((march == 0) & (april >= 20) & is_old).any()


# Dirt


def test_dirty_rows_repeat_exactly(dirty):
    columns = [dirty["history_data", name] for name in ("profile_id", "album_id", "log_time", "ss_id")]
    assert is_duplicate(*columns).sum() == is_duplicate(*columns[:3]).sum() == dirty.counts["duplicate_rows"] == 480


def test_dirty_sessions_hold_long_runs_of_one_album(dirty):
    columns = [dirty["history_data", name] for name in ("profile_id", "ss_id", "album_id")]
    runs = np.unique(np.stack(columns), axis=1, return_counts=True)[1]
    assert runs.max() > 100
    assert runs[runs > 20].sum() >= 0.8 * dirty.counts["repeat_rows"] > 0


def test_dirty_log_times_are_no_clock_times(dirty):
    log_time = dirty["history_data", "log_time"]
    assert (~is_clock_time(log_time)).sum() == dirty.counts["invalid_log_times"]
    assert 0.3 < (~is_clock_time(log_time)).mean() < 0.5
    assert (log_time % 100).max() == 99
    assert is_clock_time(log_time // 100 * 100).all()  # all but the seconds are in order


@pytest.mark.parametrize("dirt", [True, False])
def test_log_times_keep_the_order_of_events(dirt):
    first_day = datetime.date(2024, 2, 28)
    log_time = _clock(np.arange(4 * 24 * 60 * 60), first_day, dirt)
    assert (np.diff(log_time) > 0).all()
    moments = [
        datetime.datetime(2024, 2, 28) + datetime.timedelta(seconds=second) for second in range(0, 300_000, 997)
    ]
    minutes = [int(moment.strftime("%Y%m%d%H%M")) for moment in moments]
    assert (log_time[:300_000:997] // 100).tolist() == minutes


def test_dirty_session_ids_can_be_later_than_the_log_time(dirty):
    late = dirty["history_data", "ss_id"] > dirty["history_data", "log_time"]
    assert late.sum() == dirty.counts["late_session_ids"] > 0


def test_dirty_history_is_not_sorted(dirty):
    for name in ("profile_id", "log_time"):
        assert 0.4 < (np.diff(dirty["history_data", name]) < 0).mean() < 0.6


def test_dirty_metadata_has_holes_and_extra_rows(dirty):
    meta, watched = dirty["meta_data", "album_id"], np.unique(dirty["history_data", "album_id"])
    assert len(np.setdiff1d(watched, meta)) == dirty.counts["albums_without_metadata"] > 0
    assert len(np.setdiff1d(meta, watched)) == dirty.counts["albums_never_watched"] > 0
    assert is_duplicate(meta).sum() == dirty.counts["extra_metadata_rows"] > 0


def test_dirty_countries_are_empty_and_genres_have_two_spellings(dirty):
    countries, genres = dirty["meta_data", "country"], dirty["meta_data", "genre_mid"]
    assert (countries == "").sum() == dirty.counts["empty_countries"]
    assert 0.2 < (countries == "").mean() < 0.4
    assert {"노래 율동", "노래율동"} <= set(genres)
    spaced = {genre.replace(" ", "") for genre in genres if " " in genre}
    assert sum(genre in spaced for genre in genres) == dirty.counts["other_genre_spellings"] > 0


def test_dirty_columns_have_mixed_types(dirty):
    ages, run_times = dirty["profile_data", "age"], dirty["meta_data", "run_time"]
    assert (ages == "unknown").sum() == dirty.counts["unknown_ages"] > 0
    assert all(1 <= int(age) <= 12 for age in ages if age != "unknown")
    assert sum(run_time.endswith("분") for run_time in run_times) == dirty.counts["other_run_times"] > 0
    casts = {cast for cast in dirty["meta_data", "cast_5"] if cast}
    assert "5" in casts and any(not cast.isdigit() for cast in casts)


def test_dirty_files_start_with_a_byte_order_mark(dirty, clean):
    marked = [name for name, content in dirty.bytes().items() if content.startswith(BYTE_ORDER_MARK)]
    assert marked == ["meta_data.csv", "profile_data.csv"]
    assert not any(content.startswith(BYTE_ORDER_MARK) for content in clean.bytes().values())


def test_clean_files_have_no_dirt(clean):
    profile, log_time = clean["history_data", "profile_id"], clean["history_data", "log_time"]
    assert not is_duplicate(profile, clean["history_data", "album_id"], log_time).any()
    assert is_clock_time(log_time).all()
    assert (clean["history_data", "ss_id"] <= log_time).all()
    assert (np.lexsort((log_time, profile)) == np.arange(len(profile))).all()
    columns = [clean["history_data", name] for name in ("profile_id", "ss_id", "album_id")]
    assert np.unique(np.stack(columns), axis=1, return_counts=True)[1].max() < 10
    assert not is_duplicate(clean["meta_data", "album_id"]).any()
    assert not set(clean["history_data", "album_id"]) - set(clean["meta_data", "album_id"])
    assert (clean["meta_data", "country"] != "").all()
    assert "노래 율동" in clean["meta_data", "genre_mid"] and "노래율동" not in clean["meta_data", "genre_mid"]
    assert clean["profile_data", "age"].dtype == clean["meta_data", "run_time"].dtype == np.int64
    assert not any(cast.isdigit() for number in range(1, 8) for cast in clean["meta_data", f"cast_{number}"])


@pytest.mark.parametrize("sample", ["dirty", "clean"])
def test_submission_lists_all_profiles_in_its_own_order(sample, request):
    sample = request.getfixturevalue(sample)
    profiles = sample["sample_submission", "profile_id"]
    assert sorted(profiles) == sorted(sample["profile_data", "profile_id"])
    assert 0.4 < (np.diff(profiles) < 0).mean() < 0.6
    assert set(profiles) - set(sample["history_data", "profile_id"])
    assert sample.tables["sample_submission.csv"]["predicted_list"].null_count == len(profiles)


def test_keywords_and_payments_look_like_the_real_ones(dirty):
    albums, values = dirty["meta_data_plus", "album_id"], dirty["meta_data_plus", "keyword_value"]
    assert values.min() < 3 <= np.median(values) and values.max() == 10
    assert np.unique(albums, return_counts=True)[1].min() >= 2
    assert not is_duplicate(albums, np.unique(dirty["meta_data_plus", "keyword_name"], return_inverse=True)[1]).any()
    assert 0.91 < np.isnan(dirty["history_data", "payment"]).mean() < 0.95
