# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
import sys
import types

import numpy as np
import pyarrow as pa
import pytest
from helpers import make
from numpy.testing import assert_allclose

from bert4rec_hf import DataArguments, DataError, Split, fit_processor, read_interactions


EVENTS = [(1, "a"), (1, "b"), (2, "c"), (2, "a")]
VECTORS = [[1.0, 2.0, 3.0, 6.0], None, [0.5, -1.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.0]]
ITEMS = {"album_id": ["a", "b", "c", "new"], "picture": VECTORS}


def unit(vector):
    vector = np.array(vector) - np.mean(vector)
    return vector / np.linalg.norm(vector)


AS_TEXT = {
    "JSON": lambda vector: None if vector is None else str(vector),
    "spaces": lambda vector: "" if vector is None else " ".join(map(str, vector)),
    "semicolons": lambda vector: "" if vector is None else "; ".join(map(str, vector)),
}


@pytest.mark.parametrize("form", ["lists", "fixed", "halves", *AS_TEXT])
def test_vectors_are_read_from_lists_and_texts(form):
    column = [AS_TEXT[form](vector) for vector in VECTORS] if form in AS_TEXT else VECTORS
    of = {"fixed": pa.list_(pa.float64(), 4), "halves": pa.large_list(pa.float16())}.get(form)
    items = {"album_id": ITEMS["album_id"], "picture": pa.array(column, of)}
    interactions, split = make(EVENTS, "none", items=items, vector_features=["picture"])
    processor = fit_processor(interactions, split)
    vectors = processor.vector_features()
    assert vectors.dtype == np.float16 and vectors.shape == (6, 4)
    assert_allclose(vectors[3:], [unit(VECTORS[0]), [0] * 4, unit(VECTORS[2])], atol=1e-3)
    assert not vectors[:3].any()
    assert interactions.counts["items with events without picture"] == 1
    feature = processor.vocabulary["vector_features"][0]
    assert (feature["name"], feature["size"]) == ("picture", 4)


def test_vectors_come_from_a_file(tmp_path):
    (tmp_path / "history_data.csv").write_text("profile_id,album_id,log_time\n1,a,20220301\n1,b,20220302\n")
    (tmp_path / "meta_data.csv").write_text('album_id,vector\na,"[1, 0, 0]"\nb,"[0, 1e0, -2]"\n')
    files = {"profile_data_file": "none", "meta_data_plus_file": "none", "item_features": [], "user_features": []}
    arguments = DataArguments(str(tmp_path), vector_features=["vector"], **files)
    processor = fit_processor(read_interactions(arguments), Split("none"))
    assert_allclose(processor.vector_features()[4], unit([0, 1, -2]), atol=1e-3)
    assert arguments.rules()["vector_features"] == ["vector"]


def test_the_hash_covers_the_vectors():
    one, two = (
        fit_processor(*make(EVENTS, "none", items=items, vector_features=["picture"]))
        for items in (ITEMS, {**ITEMS, "picture": [[1.0, 2.0, 3.0, 7.0], *VECTORS[1:]]})
    )
    assert one.vocabulary_hash != two.vocabulary_hash
    with pytest.raises(ValueError, match="not of the same checkpoint"):
        two.check_config(types.SimpleNamespace(**one.config_kwargs()))


@pytest.mark.parametrize(
    "column, message",
    [
        ([[1, 2], [1, 2, 3], None, None], "row 2: picture has 3 numbers, in other rows 2"),
        (["1 2", "1 zwei", "", ""], "row 2: picture holds 'zwei', not a number"),
        ([[1.0, 2.0], None, [1.0, float("inf")], None], "row 3: picture holds a number that is missing, NaN or inf"),
        ([[1.0, 2.0], [1.0, None], None, None], "row 2: picture holds a number that is missing, NaN or infinity"),
        ([1.0, 2.0, 3.0, 4.0], "picture is of type double, not lists of numbers"),
        ([[1.0], [2.0], [3.0], None], "picture has one number an item; see --number_features"),
        ([[[1.0]], None, None, None], "picture is of type .*, not lists of numbers"),
        ([None, None, None, None], "picture is empty in all rows"),
    ],
)
def test_what_is_no_vector_is_refused(column, message):
    with pytest.raises(DataError, match=message):
        make(EVENTS, items={**ITEMS, "picture": column}, vector_features=["picture"])


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(DataError, match="vector feature 'sound' is no column of the item tables"):
        make(EVENTS, items=ITEMS, vector_features=["sound"])


class Letters:
    """A model of texts: how often each of four letters occurs."""

    def __init__(self, name):
        if name != "letters":
            raise OSError(f"there is no {name}")

    def encode(self, texts, show_progress_bar):
        self.texts = texts
        return np.array([[text.count(letter) for letter in "abcd"] for text in texts], dtype=np.float32)


@pytest.fixture(params=["sentence_transformers", "model2vec"])
def library(request, monkeypatch):
    for name in ("sentence_transformers", "model2vec"):
        monkeypatch.setitem(sys.modules, name, None)
    module = types.ModuleType(request.param)
    if request.param == "model2vec":
        module.StaticModel = types.SimpleNamespace(from_pretrained=Letters)
    else:
        module.SentenceTransformer = Letters
    monkeypatch.setitem(sys.modules, request.param, module)


TEXTS = {"album_id": ["a", "b", "c"], "title": ["aab", None, "cab"], "about": ["dd", "", "a"]}
KEYWORDS = {"album_id": ["a", "a", "c"], "keyword_name": ["bb", "d", "d"], "keyword_value": [3, 4, 5]}


def test_texts_become_vectors(library):
    settings = {"text_features": ["title", "about", "keyword_name"], "text_model": "letters"}
    interactions, split = make(EVENTS, "none", items=TEXTS, keywords=KEYWORDS, **settings)
    vectors = fit_processor(interactions, split).vector_features()[3:]
    assert_allclose(vectors, [unit([2, 3, 0, 3]), [0] * 4, unit([2, 1, 1, 1])], atol=1e-3)
    assert interactions.counts["items with events without a text"] == 1
    with pytest.raises(DataError, match="text_model other cannot be loaded: there is no other"):
        make(EVENTS, items=TEXTS, text_features=["title"], text_model="other")


def test_what_to_install_for_texts_is_said(monkeypatch):
    for name in ("sentence_transformers", "model2vec"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(DataError, match="pip install sentence-transformers"):
        make(EVENTS, items=TEXTS, text_features=["title"], text_model="letters")
    with pytest.raises(DataError, match="text_features need a --text_model"):
        make(EVENTS, items=TEXTS, text_features=["title"])
