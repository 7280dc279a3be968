# Copyright 2026 The bert4rec_hf authors. Licensed under the Apache License, Version 2.0.
"""The page of bert4rec_hf/serving/demo in a real browser: Chromium of the system, where it is installed."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from helpers import make_processor, model_of, run

from bert4rec_hf import DataError
from bert4rec_hf.serving.space import push_space, write_space


pytest.importorskip("gradio")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("needs Debian's chromium", allow_module_level=True)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
HOSTILE = "<img src=x onerror=\"document.title='hacked'\"> 노래"
EVENT = "뽀로로와 노래해요"


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def serve(folder, environment=None):
    """`python app.py` in a Space's folder, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    own |= {"HF_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"} | (environment or {})
    with open(folder / "log", "w") as log:
        process = subprocess.Popen(
            [os.environ.get("SPACE_PYTHON", sys.executable), "app.py"],
            cwd=folder,
            env=os.environ | own,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        try:
            urllib.request.urlopen(url, timeout=5).read()
            return process, url
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.5)
    raise TimeoutError((folder / "log").read_text())


@pytest.fixture(scope="module")
def address(tmp_path_factory, trained):
    """
    A Space of two models whose titles are hostile and Korean, one with an evaluation; served where the package cannot
    be imported.
    """
    processor = make_processor()
    processor.vocabulary["titles"][:2] = [HOSTILE, EVENT]
    folders = [str(tmp_path_factory.mktemp(name)) for name in ("first", "second")]
    for folder, kind in zip(folders, ("masked", "prior")):
        model = model_of(processor, kind)
        model.config.vocabulary_hash = processor.vocabulary_hash
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    for name in ("README.md", "evaluation.png", "data.png"):
        shutil.copy(trained / name, folders[0])
    space = tmp_path_factory.mktemp("space")
    write_space(folders, str(space))
    shadow = space / "shadow" / "bert4rec_hf"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('not installed')")
    process, url = serve(space, {"PYTHONPATH": str(space / "shadow")})
    yield url
    process.terminate()
    process.wait()


@pytest.fixture(params=[400, 1280])
def page(request, browser, address):
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    page.locator(".recommended").first.wait_for(timeout=60_000)
    yield page
    assert page.errors == []
    page.close()


def texts(page, kind):
    return page.locator(f".{kind}").all_inner_texts()


def lefts(page, kind):
    return {round(button.bounding_box()["x"]) for button in page.locator(f".{kind}").all()}


def search(page, words):
    box = page.locator("#search textarea, #search input").first
    box.fill("")
    box.press_sequentially(words, delay=20)
    page.locator(".found").first.wait_for()


def test_a_visitor_finds_titles_and_sees_what_comes_next_and_why(page, tmp_path):
    assert len(texts(page, "recommended")) == 20  # ten of each model
    before = texts(page, "recommended")
    search(page, "뽀로로")
    assert texts(page, "found") == [f"+ {EVENT}"]
    page.locator(".found").click()
    page.locator(".watched").wait_for()
    page.wait_for_function(f"document.body.innerText.includes('because of {EVENT}')")
    assert texts(page, "watched") == [f"× {EVENT}"] and texts(page, "recommended") != before
    assert f"1. {EVENT}" not in texts(page, "recommended")
    # An item opens to similar ones, which can be added
    page.locator(".recommended").first.click()
    page.locator(".similar").first.wait_for()
    added = texts(page, "similar")[0]
    page.locator(".similar").first.click()
    page.wait_for_function("document.querySelectorAll('.watched').length == 2")
    assert texts(page, "watched")[0][2:] in added
    # The same again, and both taken away one by one
    page.locator(".found").click()
    page.wait_for_function("document.querySelectorAll('.watched').length == 3")
    for left in (2, 1):
        page.locator(".watched").first.click()
        page.wait_for_function(f"document.querySelectorAll('.watched').length == {left}")
    assert texts(page, "watched") == [f"× {EVENT}"]
    # However often the list was drawn, the similar titles alone are indented
    recommended, similar = lefts(page, "recommended"), lefts(page, "similar")
    assert len(recommended) == (1 if page.viewport_size["width"] == 400 else 2)
    assert min(similar) > min(recommended) and not similar & recommended
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep = os.environ.get("SCREENSHOTS", tmp_path)
    page.screenshot(path=f"{keep}/recommendations-{page.viewport_size['width']}.png", full_page=True)


def test_a_title_is_text_and_never_runs(page):
    search(page, "<img")
    assert texts(page, "found") == [f"+ {HOSTILE}"]
    page.locator(".found").click()
    page.wait_for_function("document.body.innerText.includes('because of <img')")
    page.locator(".recommended").first.click()
    page.locator(".similar").first.wait_for()
    assert page.title() == "BERT4Rec" and page.locator("img[src=x]").count() == 0


def test_the_keyboard_alone_does(page):
    page.locator("#search textarea, #search input").first.focus()
    page.keyboard.type("제목 1", delay=20)
    page.locator(".found").first.wait_for()
    page.wait_for_function("""() => {
        const found = [...document.querySelectorAll('.found')];
        return found.length == 8 && found.every(element => element.innerText.startsWith('+ 제목 1'));
    }""")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.innerText").startswith("+ 제목 1")
    page.keyboard.press("Enter")
    page.locator(".watched").wait_for()
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('recommended')"):
            break
    page.keyboard.press("Enter")
    page.locator(".similar").first.wait_for()
    assert page.evaluate("document.activeElement.classList.contains('recommended')")  # the focus stays


def test_the_profile_and_the_wishes_change_the_list(page):
    before = texts(page, "recommended")
    page.get_by_label("sex").click()
    page.get_by_role("option", name="F").click()
    page.wait_for_function(
        "before => document.querySelector('.recommended').innerText != before[0] || "
        "[...document.querySelectorAll('.recommended')].some((e, n) => e.innerText != before[n])",
        arg=before,
    )
    assert texts(page, "recommended") != before


def test_a_product_owner_sees_the_evaluation(page, tmp_path):
    page.get_by_role("tab", name="How good is it?").click()
    page.get_by_role("heading", name="Results").wait_for()
    for picture in page.locator("button img, .image-container img").all():
        picture.scroll_into_view_if_needed()  # they are loaded when they are looked at
    page.wait_for_function("[...document.images].filter(i => i.naturalWidth > 300).length == 2")
    assert page.get_by_text("This model has no report.").count() == 1
    keep = os.environ.get("SCREENSHOTS", tmp_path)
    page.screenshot(path=f"{keep}/evaluation-{page.viewport_size['width']}.png", full_page=True)


def test_a_hundred_thousand_titles_are_searched_at_once():
    from bert4rec_hf.serving.demo.app import Catalogue

    class Pipe:
        class processor:
            vocabulary = {
                "item_ids": list(range(100_000)),
                "titles": [f"제목 {n} {'노래' if n % 1000 == 0 else 'Song'}" for n in range(99_999)] + [None],
            }

    catalogue = Catalogue(Pipe)
    start = time.perf_counter()
    assert catalogue.search("노래 제목 99000") == [99_000] and catalogue.search("99999") == [99_999]
    assert catalogue.search("SONG 제목 12") and catalogue.search("  ") == [] == catalogue.search("nothing")
    assert time.perf_counter() - start < 5  # some 20 ms each
    assert len(catalogue.search(np.str_("제목"))) == 8


def test_the_command_writes_the_space_and_refuses_what_cannot_be_one(trained, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "demo", "--model_dir", trained, "--output_dir", tmp_path / "space")
    assert {path.name for path in (tmp_path / "space").iterdir()} == {
        *("app.py", "README.md", "requirements.txt", "models.txt"),
    }
    card = (tmp_path / "space" / "README.md").read_text()
    assert card.startswith("---\ntitle: BERT4Rec\n") and "$" not in card and 'python_version: "3.12"' in card
    monkeypatch.chdir(trained.parent)
    write_space([trained.name], "space")
    assert (trained.parent / "space" / "models.txt").read_text() == f"{trained}\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    with pytest.raises(DataError, match="has a README.md of something else"):
        write_space(["user/a"], str(tmp_path / "mine"))
    with pytest.raises(DataError, match="is a folder, which a Space cannot read"):
        push_space([str(trained)], "user/try")
    with pytest.raises(SystemExit):
        run(monkeypatch, "demo", "--model_dir", "a", "b", "c")
    assert "takes one model, or two" in capsys.readouterr().err
