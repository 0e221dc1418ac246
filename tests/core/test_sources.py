from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from actx_core.errors import SourceError
from actx_core.sources.arrays import Arrays, ArraysConfig
from actx_core.sources.text import Text, TextConfig


def arrays(path, **options):
    return Arrays(ArraysConfig(path=path, **options))


def text(path, **options):
    return Text(TextConfig(path=path, **options))


def loaded(source):
    return {s.id: s.load() for s in source.listing()}


def contents(source):
    return {s.id: (s.load(), dict(s.columns)) for s in source.listing()}


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(12, 3, 2)).astype("float32")


class TestArrays:
    def test_rows_of_npy(self, tmp_path, values):
        np.save(tmp_path / "x.npy", values)
        source = arrays(tmp_path / "x.npy")
        rows = loaded(source)
        assert list(rows) == [f"{i:08d}" for i in range(12)]
        np.testing.assert_array_equal(np.stack(list(rows.values())), values)
        row = rows["00000003"]
        assert row.dtype == "float32"
        assert row.flags.owndata
        assert row.flags.writeable
        assert isinstance(source._loaded[0], np.memmap)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["int8", ">f4", "float16", "U5", "complex64"])
    def test_any_dtype_and_order(self, tmp_path, dtype, order):
        values = np.asarray(np.arange(12).reshape(4, 3).astype(dtype), order=order)
        np.save(tmp_path / "x.npy", values)
        np.testing.assert_array_equal(list(loaded(arrays(tmp_path / "x.npy")).values()), values)

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_npz_with_ids(self, tmp_path, values, save):
        save(tmp_path / "x.npz", x=values, names=np.array([f"s{i}" for i in range(12)]))
        rows = loaded(arrays(tmp_path / "x.npz", key="x", ids="names"))
        assert list(rows) == [f"s{i}" for i in range(12)]
        np.testing.assert_array_equal(rows["s7"], values[7])
        assert list(loaded(arrays(tmp_path / "x.npz", ids="names"))) == list(rows)

    def test_numbers_as_ids(self, tmp_path, values):
        np.savez(tmp_path / "x.npz", x=values, n=np.arange(100, 112))
        assert list(loaded(arrays(tmp_path / "x.npz", ids="n")))[:2] == ["100", "101"]

    def test_shards_and_growth(self, tmp_path, values):
        np.save(tmp_path / "x.npy", values)
        source = arrays(tmp_path / "x.npy")
        shards = list(source.shards(5))
        assert [(s.start, s.stop) for s in shards] == [(0, 5), (5, 10), (10, 12)]
        ids = [s.id for shard in shards for s in source.read(shard)]
        np.save(tmp_path / "x.npy", np.concatenate([values, values[:1]]))
        assert [s.id for s in arrays(tmp_path / "x.npy").listing()][:12] == ids

    def test_stamp_and_digest_follow_the_content(self, tmp_path, values):
        np.save(tmp_path / "x.npy", values)
        before = arrays(tmp_path / "x.npy")
        digests = [before.digest(s) for s in before.listing()]
        stamp = before.listing()[0].stamp
        assert len(set(digests)) == 12
        values[4] += 1
        np.save(tmp_path / "y.npy", values)
        (tmp_path / "y.npy").rename(tmp_path / "x.npy")
        after = arrays(tmp_path / "x.npy")
        assert after.listing()[0].stamp != stamp
        changed = [a != b for a, b in zip(digests, map(after.digest, after.listing()), strict=True)]
        assert changed == [i == 4 for i in range(12)]

    def test_label_and_preview(self, tmp_path, values):
        np.save(tmp_path / "stimuli.npy", values)
        source = arrays(tmp_path / "stimuli.npy")
        assert source.config.label() == "stimuli"
        assert source.preview(["00000000"]) == [None]

    @pytest.mark.parametrize(
        ("members", "options", "message"),
        [
            ({"a": np.ones(2), "b": np.ones(2)}, {}, "expected one array, found 'a', 'b'"),
            ({"a": np.ones(2)}, {"key": "c"}, "expected an array 'c', found 'a'"),
            ({"a": np.ones(2)}, {"ids": "c"}, "expected an array 'c', found 'a'"),
            ({"a": np.float64(2)}, {}, "found a single float64"),
            ({"a": np.ones(2), "i": np.arange(3)}, {"ids": "i"}, "expected 2 integers or strings"),
            ({"a": np.ones(2), "i": np.ones(2)}, {"ids": "i"}, "found float64 of shape"),
            ({"a": np.ones(2), "i": np.array(["x", "x"])}, {"ids": "i"}, "found 'x' twice"),
            ({"a": np.array([{}, []], object)}, {}, "cannot be read as numbers: Object arrays"),
        ],
    )
    def test_bad_npz(self, tmp_path, members, options, message):
        np.savez(tmp_path / "x.npz", **members)
        with pytest.raises(SourceError, match=message) as error:
            arrays(tmp_path / "x.npz", **options).listing()
        assert str(tmp_path / "x.npz") in str(error.value)

    def test_bad_files(self, tmp_path, values):
        with pytest.raises(SourceError, match=r"x\.npy: there is no such file"):
            arrays(tmp_path / "x.npy").listing()
        np.save(tmp_path / "x.npy", values)
        whole = (tmp_path / "x.npy").read_bytes()
        for damaged in (whole[:-5], whole[:20], b"", b"some text"):
            (tmp_path / "x.npy").write_bytes(damaged)
            with pytest.raises(SourceError, match="cannot be read as numbers"):
                arrays(tmp_path / "x.npy").listing()
        np.savez(tmp_path / "x.npz", values)
        broken = bytearray((tmp_path / "x.npz").read_bytes())
        broken[200] ^= 255
        (tmp_path / "x.npz").write_bytes(broken)
        with pytest.raises(SourceError, match="cannot be read as numbers: Bad CRC-32"):
            arrays(tmp_path / "x.npz").listing()

    @pytest.mark.parametrize(
        "options", [{"path": "x.csv"}, {"path": "x.npy", "key": "a"}, {"path": "x.npy", "ids": "a"}]
    )
    def test_bad_options(self, options):
        with pytest.raises(ValidationError, match="npy"):
            ArraysConfig(**options)


class TestLines:
    def test_lines_keep_their_numbers(self, tmp_path):
        path = tmp_path / "stories.txt"
        path.write_bytes("\ufeffone\r\n\n \t\n  zwei ü\n\u2028three\x0b".encode())
        assert contents(text(path)) == {
            "00000001": ("one", {"line": 1}),
            "00000004": ("  zwei ü", {"line": 4}),
            "00000005": ("\u2028three\x0b", {"line": 5}),
        }
        assert text(path).config.label() == "stories"

    @given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\ufeff"))))
    def test_any_text_comes_back(self, tmp_path_factory, lines):
        path = tmp_path_factory.mktemp("text") / "x.txt"
        path.write_bytes("\n".join(lines).encode())
        expected = {
            f"{n:08d}": line for n, line in enumerate(lines, 1) if line.strip(" \t\x0b\x0c")
        }
        if expected:
            assert loaded(text(path)) == expected
        else:
            with pytest.raises(SourceError, match="expected text, found nothing"):
                text(path).listing()

    def test_a_whole_file(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_bytes(b"\xef\xbb\xbfone\n\ntwo\n")
        assert contents(text(path, per="file")) == {"x.txt": ("one\n\ntwo\n", {"path": "x.txt"})}

    def test_invalid_utf8_is_an_error_of_its_sample(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_bytes(b"good\nb\xffd\nfine\n")
        source = text(path)
        one, bad, two = source.listing()
        assert (one.load(), two.load()) == ("good", "fine")
        with pytest.raises(SourceError, match=r"x\.txt:2: expected UTF-8, found the byte 0xff"):
            bad.load()
        assert source.digest(bad) == hashlib.sha256(b"b\xffd").hexdigest()
        assert source.preview([bad.id]) == [None]
        (whole,) = text(path, per="file").listing()
        with pytest.raises(SourceError, match=r"x\.txt:2: expected UTF-8"):
            whole.load()

    def test_an_edit_changes_only_its_stamp(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_text("a\nb\nc\n")
        before = [(s.id, s.stamp) for s in text(path).listing()]
        path.write_text("a\nB\nc\nd\n")
        after = [(s.id, s.stamp) for s in text(path).listing()]
        assert [a == b for a, b in zip(before, after, strict=False)] == [True, False, True]

    def test_preview(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_text("a\nb\n")
        preview, none = text(path).preview(["00000002", "00000009"])
        assert (preview.kind, preview.data) == ("text", "b")
        assert none is None


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path):
        for name, content in {
            "b10.txt": "x\n\ny\n",
            "b9.txt": "z",
            "sub/a.txt": "",
            "no.md": "?",
        }.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
        return tmp_path

    def test_a_sample_per_file(self, folder):
        assert contents(text(folder)) == {
            "b9.txt": ("z", {"path": "b9.txt"}),
            "b10.txt": ("x\n\ny\n", {"path": "b10.txt"}),
            "sub/a.txt": ("", {"path": "sub/a.txt"}),
        }
        assert [s.id for s in text(folder).listing()] == ["b9.txt", "b10.txt", "sub/a.txt"]

    def test_a_sample_per_line(self, folder):
        assert contents(text(folder, per="line")) == {
            "b9.txt:00000001": ("z", {"path": "b9.txt", "line": 1}),
            "b10.txt:00000001": ("x", {"path": "b10.txt", "line": 1}),
            "b10.txt:00000003": ("y", {"path": "b10.txt", "line": 3}),
        }

    def test_nothing_there(self, tmp_path):
        with pytest.raises(SourceError, match="expected text, found nothing"):
            text(tmp_path).listing()
        with pytest.raises(SourceError, match="there is no such file or folder"):
            text(tmp_path / "gone").listing()
        (tmp_path / "x.csv").write_text("a")
        with pytest.raises(SourceError, match=r"expected \.txt, \.jsonl or a folder"):
            text(tmp_path / "x.csv").listing()


class TestJsonLines:
    def write(self, path, *records):
        path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in records))
        return path

    def test_scalars_become_columns(self, tmp_path):
        path = self.write(
            tmp_path / "x.jsonl",
            {"text": "one", "n": 1, "ok": True, "w": 0.5, "none": None, "l": [1], "o": {"a": 1}},
            "",
            {"text": "zwei\n\u2028ü", "n": 2},
        )
        assert contents(text(path)) == {
            "00000001": ("one", {"n": 1, "ok": True, "w": 0.5, "none": None}),
            "00000003": ("zwei\n\u2028ü", {"n": 2}),
        }

    def test_own_ids_and_column(self, tmp_path):
        path = self.write(tmp_path / "x.jsonl", {"body": "a", "doc": "d1"}, {"body": "b", "doc": 7})
        source = text(path, column="body", id="doc")
        assert contents(source) == {"d1": ("a", {}), "7": ("b", {})}
        assert source.preview(["7"])[0].data == "b"

    @pytest.mark.parametrize(
        ("second", "options", "message"),
        [
            ({"body": "b", "n": 1}, {}, r"x\.jsonl:2: expected a field 'text', found 'body', 'n'"),
            ({}, {}, "expected a field 'text', found no field"),
            ({"text": 3}, {}, "expected text in 'text', found 3"),
            ({"text": None}, {}, "expected text in 'text', found null"),
            ({"text": "b"}, {"id": "i"}, "expected a field 'i', found 'text'"),
            ({"text": "b", "i": 0.5}, {"id": "i"}, "expected text or an integer in 'i', found 0.5"),
            (
                {"text": "b", "i": True},
                {"id": "i"},
                "expected text or an integer in 'i', found True",
            ),
            ({"text": "b", "i": 1}, {"id": "i"}, r"x\.jsonl:2: id '1' is that of line 1 too"),
            ('{"text": ', {}, r"x\.jsonl:2: expected a JSON object: "),
            (["a"], {}, "expected a JSON object, found a list"),
        ],
    )
    def test_bad_lines_are_named(self, tmp_path, second, options, message):
        path = self.write(tmp_path / "x.jsonl", {"text": "a", "i": 1}, second)
        with pytest.raises(SourceError, match=message):
            text(path, **options).listing()

    def test_invalid_utf8(self, tmp_path):
        (tmp_path / "x.jsonl").write_bytes(b'{"text": "a"}\n{"text": "\xe4"}\n')
        with pytest.raises(SourceError, match=r"x\.jsonl:2: expected UTF-8, found the byte 0xe4"):
            text(tmp_path / "x.jsonl").listing()


@pytest.mark.parametrize(
    "options",
    [
        {"path": "x.txt", "column": "body"},
        {"path": "x.txt", "id": "n"},
        {"path": "x.jsonl", "per": "line"},
        {"path": "x.jsonl", "id": "text"},
        {"path": "x.txt", "per": "word"},
    ],
)
def test_bad_text_options(options):
    with pytest.raises(ValidationError):
        TextConfig(**options)


def test_configs_survive_json():
    for config in (
        TextConfig(path="x.txt"),
        TextConfig(path="x.jsonl"),
        ArraysConfig(path="x.npy"),
    ):
        assert type(config).model_validate(config.model_dump(mode="json")) == config
        assert all(field.description for field in type(config).model_fields.values())


def test_samples_pickle(tmp_path):
    (tmp_path / "x.txt").write_text("a\nb\n")
    samples = pickle.loads(pickle.dumps(text(tmp_path / "x.txt").listing()))
    assert [s.load() for s in samples] == ["a", "b"]


def test_the_modules_import_no_numpy():
    code = (
        "import sys, actx_core.sources.arrays, actx_core.sources.text, actx_core.poolers;"
        " sys.exit('numpy' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
