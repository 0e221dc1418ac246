"""Texts without `datasets`: paragraphs, whole files, texts in the pipeline, very long lines, bad bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actx_core import Pipeline, SourceError, open_run
from actx_core.registry import registry
from actx_core.sources.text import Text, TextConfig
from actx_core.testing import SourceTests

LETTERS = Path(__file__).parent / "letters"


def text(**options):
    return Text(TextConfig(**options))


def contents(source):
    return {s.id: (s.load(), dict(s.columns)) for s in source.listing()}


@pytest.fixture
def letters(monkeypatch):
    monkeypatch.syspath_prepend(str(LETTERS))
    registry.cache_clear()
    yield
    registry.cache_clear()


class TestTextsSuite(SourceTests):
    @pytest.fixture
    def source(self):
        return text(texts=("one", "", "zwei\nü", "one"))


class TestParagraphsSuite(SourceTests):
    @pytest.fixture
    def source(self, tmp_path):
        (tmp_path / "a.txt").write_text("one\ntwo\n\n\nthree\n")
        (tmp_path / "b.txt").write_text("\n \nfour")
        return text(path=tmp_path, per="paragraph")


class TestTexts:
    def test_texts_of_the_pipeline_are_run(self, tmp_path, letters):
        given = {
            "actx": 1,
            "run": {"out": str(tmp_path / "run")},
            "source": {"type": "text", "texts": ["abba", "", "b" * 1_000_000]},
            "model": {"type": "letters", "as": "m", "taps": ["counts"]},
        }
        list(Pipeline.from_dict(given).run())
        array = open_run(tmp_path / "run")["texts/m/counts"]
        assert array.rows["sample"].to_pylist() == ["00000001", "00000002", "00000003"]
        np.testing.assert_array_equal(array.numpy()[:, 97:99], [[2, 2], [0, 0], [0, 1_000_000]])
        given["source"]["texts"][1] = "other"
        with pytest.raises(SourceError, match="sample '00000002' has changed since the run began"):
            list(Pipeline.from_dict(given).run())

    def test_preview(self):
        assert text(texts=("a", "b")).preview(["00000002"])[0].data == "b"

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({}, "give either path or texts"),
            ({"path": "x.txt", "texts": ["a"]}, "give either path or texts"),
            ({"texts": []}, "give either path or texts"),
            ({"texts": ["a", "b\ud800"]}, "text 2 holds a lone surrogate at character 1"),
            ({"texts": ["a"], "per": "line"}, "each of texts is a sample"),
            ({"texts": ["a"], "column": "b"}, "each of texts is a sample"),
            ({"texts": "abc"}, "texts"),
            ({"path": "x.jsonl", "per": "paragraph"}, "per is for .txt files"),
        ],
    )
    def test_options_that_do_not_fit(self, options, match):
        with pytest.raises(ValidationError, match=match):
            TextConfig(**options)


class TestParagraphs:
    def test_blank_lines_separate_them(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_bytes("\ufeffone\r\n  two\r\n\r\n\n \t\nthree\n\nfour ü\nfive".encode())
        assert contents(text(path=path, per="paragraph")) == {
            "00000001": ("one\r\n  two", {"line": 1}),
            "00000006": ("three", {"line": 6}),
            "00000008": ("four ü\nfive", {"line": 8}),
        }

    @given(
        st.lists(st.lists(st.text("ab ü", min_size=1).filter(str.strip), min_size=1), min_size=1)
    )
    def test_what_was_joined_comes_back(self, tmp_path_factory, paragraphs):
        path = tmp_path_factory.mktemp("text") / "x.txt"
        joined = ["\n".join(lines) for lines in paragraphs]
        path.write_text("\n\n".join(joined))
        assert [s.load() for s in text(path=path, per="paragraph").listing()] == joined

    def test_of_several_files(self, tmp_path):
        (tmp_path / "a.txt").write_text("one\n\ntwo\n")
        (tmp_path / "b.txt").write_text("\n\n")
        (tmp_path / "c.txt").write_text("three")
        assert contents(text(path=tmp_path, per="paragraph")) == {
            "a.txt:00000001": ("one", {"path": "a.txt", "line": 1}),
            "a.txt:00000003": ("two", {"path": "a.txt", "line": 3}),
            "c.txt:00000001": ("three", {"path": "c.txt", "line": 1}),
        }

    def test_a_bad_byte_is_named_by_its_own_line(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_bytes(b"fine\n\nalso\nb\xffd\n")
        first, second = text(path=path, per="paragraph").listing()
        assert first.load() == "fine"
        with pytest.raises(SourceError, match=r"x\.txt:4: expected UTF-8, found the byte 0xff"):
            second.load()


def test_a_line_of_a_million_characters(tmp_path):
    line = "äx" * 500_000
    (tmp_path / "x.txt").write_text(f"one\n{line}\nthree\n", "utf-8")
    assert [s.load() for s in text(path=tmp_path / "x.txt").listing()] == ["one", line, "three"]
    (tmp_path / "x.jsonl").write_text(f'{{"text": "{line}"}}\n', "utf-8")
    assert [s.load() for s in text(path=tmp_path / "x.jsonl").listing()] == [line]


def test_documents_without_text(tmp_path):
    """An empty file or field is a sample; a blank line is none."""
    (tmp_path / "a.txt").write_text("")
    assert contents(text(path=tmp_path)) == {"a.txt": ("", {"path": "a.txt"})}
    (tmp_path / "x.jsonl").write_text('{"text": ""}\n\n{"text": "b"}\n')
    assert contents(text(path=tmp_path / "x.jsonl")) == {
        "00000001": ("", {}),
        "00000003": ("b", {}),
    }


def test_near_misses_of_a_missing_field(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"content": "a", "n": 1}\n')
    with pytest.raises(SourceError, match=r"x.jsonl:1: expected a field 'contents'") as caught:
        text(path=tmp_path / "x.jsonl", column="contents").listing()
    assert caught.value.hint == "did you mean 'content'?"
