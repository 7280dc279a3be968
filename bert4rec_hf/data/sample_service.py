# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""A made-up children's video service: its series, its children, and what they watch."""

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


# genre_mid: (genre_large, two genre_small, usual age, six keywords)
GENRES = {
    "노래 율동": ("음악", ("동요", "율동"), 2, ("동요", "춤", "리듬", "자장가", "악기", "손유희")),
    "동화": ("책", ("전래 동화", "명작 동화"), 4, ("공주", "마법", "왕자", "요정", "성", "숲속")),
    "자연 관찰": ("지식", ("동물", "식물"), 5, ("공룡", "곤충", "바다", "고래", "나무", "새")),
    "영어": ("학습", ("파닉스", "영어 동화"), 7, ("알파벳", "파닉스", "영어 노래", "회화", "단어", "여행")),
    "애니메이션": ("만화", ("모험", "코미디"), 6, ("영웅", "로봇", "변신", "우정", "모험", "괴물")),
    "놀이": ("놀이", ("장난감", "역할 놀이"), 4, ("장난감", "블록", "인형", "소꿉", "점토", "퍼즐")),
    "탈것": ("만화", ("자동차", "기차"), 3, ("자동차", "기차", "소방차", "비행기", "중장비", "구조대")),
    "생활 습관": ("학습", ("인사", "안전"), 3, ("양치", "배변", "인사", "안전", "편식", "정리")),
    "과학 실험": ("지식", ("우주", "발명"), 9, ("우주", "발명", "자석", "화산", "물", "전기")),
    "한글 수학": ("학습", ("한글", "수학"), 6, ("한글", "숫자", "도형", "받침", "덧셈", "시계")),
}


GENRE_NAMES = np.array(list(GENRES))


KEYWORD_GENRE = np.repeat(np.arange(len(GENRES)), 6)


KEYWORD_NAMES = np.array([keyword for *_, keywords in GENRES.values() for keyword in keywords])


COUNTRIES = np.array(["한국", "일본", "미국", "영국", "프랑스", "캐나다", "중국", "스페인"])


COUNTRY_SHARES = [0.46, 0.16, 0.12, 0.09, 0.07, 0.04, 0.04, 0.02]


TITLE_WORDS = (
    "꼬마 아기 용감한 반짝반짝 신나는 노래하는 춤추는 달리는 하늘을나는 알록달록 호기심 씩씩한 잠꾸러기 장난꾸러기",
    "기차 토끼 공룡 로봇 자동차 고양이 펭귄 코끼리 요정 탐험대 우주선 거북이 구름 다람쥐 여우 소방차 곰 고래",
    "토토 루비 모모 뽀미 두두 나리 초롱이 별이 하루 솔솔 리코 봉봉 미루 카이 도담 아라 찌루 몽실 단비 푸름",
)


# What a child does after an episode. The rest of the probability is a switch to another series.
AGAIN, RECALL, NEXT_EPISODE, SWITCH = range(4)


AGAIN_PROBABILITY, RECALL_PROBABILITY = 0.02, 0.03


NEXT_PROBABILITY, NEXT_PROBABILITY_NEW_SESSION = 0.83, 0.6


SHELF_SIZE = 24


DAY = 24 * 60 * 60


MAX_REPEATS = 240  # of one album in one session, a second apart: they end before the next event, 300 s later


@dataclass
class Catalogue:
    """Albums are numbered by series, then by episode; `album_id` is what the files show instead."""

    length: np.ndarray  # per series
    first_album: np.ndarray
    genre: np.ndarray
    country: np.ndarray
    age: np.ndarray
    sex_lean: np.ndarray
    keyword_values: np.ndarray  # (series, keyword), whole numbers 0..10
    popularity: np.ndarray  # (day, series), cumulative; 0 before the launch
    title: pa.Array
    series: np.ndarray  # per album
    episode: np.ndarray
    available_day: np.ndarray
    album_id: np.ndarray


@dataclass
class Profiles:
    profile_id: np.ndarray
    is_male: np.ndarray
    age: np.ndarray
    genre_taste: np.ndarray
    keyword_taste: np.ndarray


@dataclass
class Events:
    """One clean event per element, sorted by profile and time."""

    profile: np.ndarray
    session: np.ndarray
    second: np.ndarray
    album: np.ndarray
    move: np.ndarray
    starts_session: np.ndarray


def make_catalogue(rng: np.random.Generator, num_albums: int, num_days: int) -> Catalogue:
    longest = min(40, num_albums // 5)  # a small catalogue still has several series
    length = np.minimum(8 + rng.exponential(8, num_albums), longest).astype(np.int64)
    length[rng.random(num_albums) < 0.2] = 1  # single films
    length = length[: np.searchsorted(np.cumsum(length), num_albums) + 1]
    length[-1] -= length.sum() - num_albums
    num_series = len(length)
    first_album = np.cumsum(length) - length
    series = np.repeat(np.arange(num_series), length)
    episode = np.arange(num_albums) - first_album[series]

    genre = rng.integers(len(GENRES), size=num_series)
    fit_of_keyword = 3.0 * (KEYWORD_GENRE == genre[:, None]) + rng.gumbel(size=(num_series, len(KEYWORD_NAMES)))
    chosen = np.argsort(-fit_of_keyword, axis=1)[:, :6]
    keyword_values = np.zeros((num_series, len(KEYWORD_NAMES)), np.float32)
    np.put_along_axis(keyword_values, chosen, rng.integers(3, 10, chosen.shape, endpoint=True), axis=1)
    usual_age = np.array([age for *_, age, _ in GENRES.values()])

    # A fifth of the series is launched within the period, half of those with a new episode every second day; a fifth
    # runs already and gets its last episodes week by week. The most popular series is there from the first day.
    rank = rng.permutation(num_series)
    kind = np.where(rank == 0, 1.0, rng.random(num_series))
    launch = np.where(kind < 0.2, rng.integers(1, num_days, num_series), 0)
    ready = np.select([kind < 0.1, kind < 0.2, kind < 0.4], [length, 2, np.maximum(length - 6, 1)], length)
    waiting = np.maximum(episode - ready[series] + 1, 0)
    available_day = launch[series] + waiting * np.where(kind < 0.2, 2, 7)[series]

    # Popularity: Zipf-like, rising and falling over weeks, with a burst after the launch.
    day = np.arange(num_days)[:, None]
    swing = np.sin(2 * np.pi * (day / rng.uniform(40, 150, num_series) + rng.random(num_series)))
    burst = 1.5 * (launch > 0) * np.exp(-np.maximum(day - launch, 0) / 10)
    popularity = np.exp(0.9 * swing + burst) / (rank + 3.0) ** 0.8
    never_shown = ((rng.random(num_series) < 0.05) & (rank > 0)) | (rank == num_series - 1)
    popularity[(day < launch) | never_shown] = 0
    popularity = np.cumsum(popularity, axis=1)
    popularity /= popularity[:, -1:]

    vocabulary = [words.split() for words in TITLE_WORDS]
    num_titles = np.prod([len(words) for words in vocabulary])
    draw = rng.permutation(num_titles)[np.arange(num_series) % num_titles]
    word_indices = np.unravel_index(draw, [len(words) for words in vocabulary])
    title = pc.binary_join_element_wise(
        *(pa.array(words).take(pa.array(index)) for words, index in zip(vocabulary, word_indices, strict=True)), " "
    )
    season = np.arange(num_series) // num_titles + 1
    season = pc.if_else(season > 1, pc.binary_join_element_wise(" 시즌", as_text(season), ""), "")
    return Catalogue(
        length=length,
        first_album=first_album,
        genre=genre,
        country=rng.choice(len(COUNTRIES), num_series, p=COUNTRY_SHARES),
        age=np.clip(usual_age[genre] + rng.normal(0, 1.5, num_series), 1, 12),
        sex_lean=keyword_values @ np.round(rng.normal(size=len(KEYWORD_NAMES)) * 8).astype(np.float32) / 80,
        keyword_values=keyword_values,
        popularity=popularity,
        title=pc.binary_join_element_wise(title, season, ""),
        series=series,
        episode=episode,
        available_day=available_day,
        album_id=rng.choice(4 * num_albums, num_albums, replace=False) + 10,
    )


def make_profiles(rng: np.random.Generator, num_profiles: int) -> Profiles:
    age_shares = np.array([3, 8, 14, 17, 16, 13, 10, 7, 5, 3, 2, 2]) / 100
    # Tastes are whole eighths and keyword values whole numbers, so that their matrix product is exact and the files do
    # not depend on how many threads the linear algebra library sums with.
    keyword_taste = np.round(rng.normal(size=(num_profiles, len(KEYWORD_NAMES))) * 8) / 8
    return Profiles(
        profile_id=rng.choice(4 * num_profiles, num_profiles, replace=False) + 3,
        is_male=rng.random(num_profiles) < 0.52,
        age=rng.choice(12, num_profiles, p=age_shares) + 1,
        genre_taste=rng.normal(size=(num_profiles, len(GENRES))).astype(np.float32),
        keyword_taste=keyword_taste.astype(np.float32),
    )


def draw_activity(rng: np.random.Generator, num_profiles: int, num_events: int) -> np.ndarray:
    """Events per profile, most active first: long-tailed, 3% with none and 3% with one."""
    num_cold = round(0.03 * num_profiles)
    num_single = min(num_cold, num_events - 1)
    weights = rng.lognormal(sigma=1.1, size=num_profiles - num_cold - num_single)
    weights = np.minimum(weights, 6 * weights.mean())  # bounds the steps of `watch`
    counts = np.zeros(num_profiles, np.int64)
    counts[: len(weights)] = rng.multinomial(num_events - num_single, weights / weights.sum())
    counts[len(weights) : len(weights) + num_single] = 1
    return -np.sort(-counts)


def make_sessions(rng: np.random.Generator, num_events: np.ndarray, first_day: datetime.date, num_days: int) -> Events:
    """When each profile watches: sessions of about six events, 5 to 30 minutes apart, more of them at weekends."""
    profile = np.repeat(np.arange(len(num_events)), num_events)
    starts_session = rng.random(len(profile)) < 1 / 6
    starts_session[1:] |= profile[1:] != profile[:-1]
    starts_session[0] = True
    session = np.cumsum(starts_session) - 1
    first_event = np.flatnonzero(starts_session)
    session_profile = profile[first_event]

    gap = np.where(starts_session, 0, 300 * 6 ** rng.random(len(profile)))
    elapsed = np.cumsum(gap)
    elapsed -= elapsed[first_event][session]
    last_event = np.append(first_event[1:], len(profile)) - 1
    duration = elapsed[last_event] + 3600

    # Each profile is active in its own part of the period; a third of them from the first to the last day.
    joins = np.maximum(rng.uniform(-0.5, 0.6, len(num_events)), 0)
    leaves = np.minimum(joins + rng.uniform(0.3, 1.4, len(num_events)), 1)
    weekday = (first_day.weekday() + np.arange(num_days)) % 7
    day_shares = np.cumsum(np.where(weekday >= 5, 1.6, 1.0))
    point = joins[session_profile] + (leaves - joins)[session_profile] * rng.random(len(first_event))
    day = np.minimum(np.searchsorted(day_shares / day_shares[-1], point), num_days - 1)
    hour_shares = np.array([0] * 6 + [2, 5, 7, 6, 5, 4, 4, 4, 5, 7, 10, 12, 13, 11, 8, 4, 2, 1]) / 110
    start = day * DAY + rng.choice(24, len(first_event), p=hour_shares) * 3600 + rng.random(len(first_event)) * 3600
    start = start[np.lexsort((start, session_profile))]

    # A session starts an hour or more after the end of the one before it: a running maximum within each profile.
    before = np.cumsum(duration) - duration
    lift = session_profile * (before[-1] + num_days * DAY + 1.0)
    start = np.maximum.accumulate(start - before + lift) - lift + before
    second = start[session] + elapsed
    # Profiles that would run past the last day are compressed into the period.
    end = num_days * DAY - 2 * MAX_REPEATS
    last = np.maximum(second[np.cumsum(num_events) - 1], end)[profile]
    second = np.floor(second * (end / last)).astype(np.int64)
    empty = np.zeros(len(profile), np.int32)
    return Events(profile, session, second, empty, empty.astype(np.int8), starts_session)


def watch(
    rng: np.random.Generator, catalogue: Catalogue, profiles: Profiles, num_events: np.ndarray, events: Events
) -> None:
    """Fills in `events.album` and `events.move`, one event of all profiles at once."""
    series_genre = catalogue.genre
    liking = 0.08 * (profiles.keyword_taste @ catalogue.keyword_values.T)
    liking += 0.9 * profiles.genre_taste[:, series_genre]
    liking -= ((profiles.age[:, None] - catalogue.age) ** 2 / 3).astype(np.float32)
    liking += np.where(profiles.is_male, 1.2, -1.2).astype(np.float32)[:, None] * catalogue.sex_lean
    related = 0.015 * (catalogue.keyword_values @ catalogue.keyword_values.T)
    related += 2.0 * (series_genre == series_genre[:, None])
    np.fill_diagonal(related, -20)  # a switch leaves the series

    # Children began some series before the log does.
    num_series = len(catalogue.length)
    progress = np.maximum(rng.random(liking.shape, np.float32) * 1.25 - 0.5, 0) * catalogue.length
    progress = progress.astype(np.int16)
    day = events.second // DAY
    shelf_edges = (catalogue.popularity + np.arange(len(catalogue.popularity))[:, None]).ravel()
    first_event = np.cumsum(num_events) - num_events
    series = np.zeros(len(num_events), np.int64)
    episode = np.zeros(len(num_events), np.int64)

    for step in range(num_events[0]):
        active = np.count_nonzero(num_events > step)
        now = first_event[:active] + step
        today = day[now]
        album = catalogue.first_album[series[:active]] + episode[:active]
        is_last = episode[:active] + 1 >= catalogue.length[series[:active]]
        has_next = ~is_last & (catalogue.available_day[np.where(is_last, 0, album + 1)] <= today)
        draw = rng.random(active)
        next_probability = np.where(events.starts_session[now], NEXT_PROBABILITY_NEW_SESSION, NEXT_PROBABILITY)
        move = np.select(
            [
                np.full(active, step == 0),
                draw < AGAIN_PROBABILITY,
                draw < AGAIN_PROBABILITY + RECALL_PROBABILITY,
                (draw < AGAIN_PROBABILITY + RECALL_PROBABILITY + next_probability) & has_next,
            ],
            [SWITCH, AGAIN, RECALL, NEXT_EPISODE],
            SWITCH,
        )

        episode[:active] += move == NEXT_EPISODE
        recalls = np.flatnonzero(move == RECALL)
        recalled = events.album[first_event[recalls] + (rng.random(len(recalls)) * step).astype(np.int64)]
        series[recalls], episode[recalls] = catalogue.series[recalled], catalogue.episode[recalled]

        # A switch: the popular series of the day fill a shelf, the child picks from it.
        switches = np.flatnonzero(move == SWITCH)
        shelf_draw = today[switches, None] + 1 - rng.random((len(switches), SHELF_SIZE))
        shelf = np.searchsorted(shelf_edges, shelf_draw) - today[switches, None] * num_series
        shelf = np.clip(shelf, 0, num_series - 1)
        upcoming = progress[switches[:, None], shelf]
        is_done = upcoming >= catalogue.length[shelf]
        upcoming_album = catalogue.first_album[shelf] + np.where(is_done, 0, upcoming)
        is_done |= catalogue.available_day[upcoming_album] > today[switches, None]
        appeal = liking[switches[:, None], shelf] - 6 * is_done
        if step > 0:
            appeal += related[series[switches, None], shelf]
        appeal -= np.log(rng.standard_exponential(appeal.shape, np.float32) + 1e-9)  # Gumbel noise: a softmax choice
        picked = (np.arange(len(switches)), np.argmax(appeal, axis=1))
        series[switches] = shelf[picked]
        episode[switches] = np.where(is_done[picked], 0, upcoming[picked])  # a series that is done starts over

        everyone = np.arange(active)
        seen = series[:active], episode[:active]
        progress[everyone, seen[0]] = np.maximum(progress[everyone, seen[0]], seen[1] + 1)
        events.album[now] = catalogue.first_album[seen[0]] + seen[1]
        events.move[now] = move


def as_text(numbers: np.ndarray) -> pa.Array:
    return pc.cast(pa.array(numbers), pa.string())
