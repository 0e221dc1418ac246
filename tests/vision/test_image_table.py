"""Tables of images: columns, types, ids, paths, and what is wrong with a table."""

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet
from pydantic import ValidationError

from actx_core import SourceError
from actx_core.testing import SourceTests
from actx_vision.sources.config import ImageTableConfig
from actx_vision.sources.image_table import ImageTable


@pytest.fixture
def images(tmp_path):
    (tmp_path / "images").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c d,é.png", "007.png")):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / "images" / name)
    return tmp_path


def table(path, text=None, **options):
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ImageTable(ImageTableConfig(path=path, **options))


def listed(path, text=None, **options):
    return table(path, text, **options).listing()


class TestTable(SourceTests):
    @pytest.fixture
    def source(self, images):
        text = "file,id,rating,note\nimages/b.png,x,1.5,\nimages/a.png,y,,hm\n"
        return table(images / "t.csv", text, replicates=2, jitter={"noise": 0.1})


def test_ids_types_and_order(images):
    text = (
        "stimulus_id,image_path,subject,rating,code,note\n"
        'x1,images/b.png,3,1.5,007,"a, ""quoted""\nnote"\n'
        "x0,images/007.png,-4,,010,\n"
        '"x,2","images/c d,é.png",0,2e3,100,plain\n'
    )
    samples = listed(images / "t.csv", text)
    assert [s.id for s in samples] == ["x1", "x0", "x,2"]
    assert [s.load().getpixel((0, 0))[0] for s in samples] == [1, 3, 2]
    columns = {name: [s.columns[name] for s in samples] for name in samples[0].columns}
    assert columns == {
        "path": ["images/b.png", "images/007.png", "images/c d,é.png"],
        "subject": [3, -4, 0],
        "rating": [1.5, None, 2000.0],
        "code": ["007", "010", "100"],
        "note": ['a, "quoted"\nnote', "", "plain"],
    }
    assert [type(v) for v in columns["subject"]] == [int] * 3
    stat = (images / "images/b.png").stat()
    assert samples[0].stamp == f"{stat.st_size}-{stat.st_mtime_ns}"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "", "-2"], [1, None, -2]),
        (["1", "2.0"], [1.0, 2.0]),
        (["1", "2.0", "x"], ["1", "2.0", "x"]),
        ([str(2**63 - 1), "0"], [2**63 - 1, 0]),
        ([str(2**63), "0"], [str(2**63), "0"]),
        ([str(2**53 + 1), "0.5"], [str(2**53 + 1), "0.5"]),
        (["00", "1"], ["00", "1"]),
        (["1_0", "1"], ["1_0", "1"]),
        (["+1", ".5", "1.e2", "-0"], [1.0, 0.5, 100.0, 0.0]),
        (["-inf", "1"], [-np.inf, 1.0]),
        (["True", "False"], ["True", "False"]),
        (["NA", "1"], ["NA", "1"]),
        ([" 1", "2"], [" 1", "2"]),
        (["", ""], ["", ""]),
        (["\u0661", "1"], ["\u0661", "1"]),
    ],
)
def test_numbers_are_told_from_text_without_loss(images, values, expected):
    lines = "\n".join(f'images/{n}.png,"{v}"' for n, v in zip("abc", values))
    Image.new("RGB", (1, 1)).save(images / "images" / "c.png")
    Image.new("RGB", (1, 1)).save(images / "images" / "d.png")
    lines = "\n".join(f'images/{n}.png,"{v}"' for n, v in zip("abcd", values))
    found = [s.columns["v"] for s in listed(images / "t.csv", f"path,v\n{lines}\n")]
    assert found == expected
    assert [type(v) for v in found] == [type(v) for v in expected]


def test_without_ids_the_paths_are_the_ids(images):
    (images / "images" / "a.jpg").write_bytes((images / "images" / "a.png").read_bytes())
    text = "path\nimages/b.png\nimages/a.png\nimages/a.jpg\n"
    found = [s.id for s in listed(images / "t.csv", text)]
    assert found == ["images/b", "images/a.png", "images/a.jpg"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "path\tn,m\nimages/a.png\t1,5\n"),
        ("t.csv", 'path;"n,m"\nimages/a.png;1,5\n'),
        ("t.csv", 'path\t"n,m"\nimages/a.png\t"1,5"\n'),
        ("t.csv", b'\xef\xbb\xbfpath,"n,m"\r\n\r\nimages/a.png,"1,5"\r\n'),
    ],
)
def test_delimiters_and_line_ends(images, name, text):
    (sample,) = listed(images / name, text)
    assert sample.columns == {"path": "images/a.png", "n,m": "1,5"}


def test_a_list_of_paths(images):
    text = f"images/c d,é.png\r\n\r\n{images}/images/a.png"
    samples = listed(images / "list.txt", text)
    assert [s.columns["path"] for s in samples] == ["images/c d,é.png", f"{images}/images/a.png"]
    assert samples[0].id == "images/c d,é"
    assert samples[1].load().getpixel((0, 0))[0] == 0


def test_parquet_keeps_its_types(images):
    columns = {
        "sample": [7, 8],
        "filename": ["a.png", "b.png"],
        "small": pa.array([1, None], pa.int8()),
        "seen": [True, False],
        "kind": pa.array(["x", "y"]).dictionary_encode(),
        "weight": [0.5, float("nan")],
    }
    parquet.write_table(pa.table(columns), images / "t.parquet")
    first, second = listed(images / "t.parquet", root=images / "images")
    assert first.id == "7"
    assert first.columns == {
        "path": "a.png", "small": 1, "seen": True, "kind": "x", "weight": 0.5,
    }  # fmt: skip
    assert second.columns["small"] is None
    parquet.write_table(pa.table({"path": ["a.png"], "v": [[1, 2]]}), images / "l.parquet")
    with pytest.raises(SourceError, match="column 'v': expected numbers or text, found list"):
        listed(images / "l.parquet")
    twice = pa.table([["a.png"], [1], [2]], names=["path", "n", "n"])
    parquet.write_table(twice, images / "twice.parquet")
    with pytest.raises(SourceError, match="two columns are called 'n'"):
        listed(images / "twice.parquet")
    parquet.write_table(pa.table({"path": pa.array([], pa.string())}), images / "e.parquet")
    with pytest.raises(SourceError, match="found none"):
        listed(images / "e.parquet")


def test_columns_and_root_can_be_said(images):
    text = "first,second,path\na.png,x,y\n"
    with pytest.raises(SourceError, match="become the column 'path'") as caught:
        listed(images / "t.csv", text, column="first", root=images / "images")
    assert "rename" in caught.value.hint
    (sample,) = listed(images / "t.csv", column="first", id="path", root=images / "images")
    assert (sample.id, sample.columns) == ("y", {"path": "a.png", "second": "x"})
    (images / "u.csv").write_text("path,n\nimages/a.png,1\n")
    (sample,) = listed(images / "u.csv", id="path")
    assert (sample.id, sample.columns) == ("images/a.png", {"path": "images/a.png", "n": 1})


@pytest.mark.parametrize(
    ("text", "where", "found", "hint"),
    [
        ("path,n\nimages/a.png,1\nimages/b.png\n", ":3", "expected 2 fields", ""),
        ("path,n\nimages/a.png,1,2\n", ":2", "found 3", ""),
        ("path,n\nimages/no.png,1\n", ":2", "no file 'images/no.png'", "root"),
        ('path,n\n"images/a.png","1\n2"\nx,\ny,\n', ":4", r"'x' \(2 of 3 are missing\)", "root"),
        ("path,n\nimages,1\n", ":2", "no file 'images'", "root"),
        ("path,id\nimages/a.png,x\nimages/b.png,x\n", ":3", "that of .*t.csv:2 too", "id = "),
        ("path\nimages/a.png\nimages/a.png\n", ":3", "that of .*t.csv:2 too", "id = "),
        ("path,id\nimages/a.png,\n", ":2", "'id' is empty", ""),
        ("path,n\n,1\n", ":2", "'path' is empty", ""),
        ("", "t.csv", "found no rows", ""),
        ("path,n\n\n\n", "t.csv", "found no rows", ""),
        ("Path,n\nimages/a.png,1\n", "t.csv", "a column of paths .* found Path, n", "column = "),
        (",path\n0,images/a.png\n", ":1", "column 1 has no name", "index=False"),
        ("path,n,n\nimages/a.png,1,1\n", ":1", "two columns are called 'n'", ""),
        ('path,n\nimages/a.png,"1\n', ":2", "as a table", ""),
        (b"path,n\nimages/a.png,1\nimages/\xe9.png,2\n", ":3", "byte 0xe9", "UTF-8"),
    ],
)
def test_what_is_wrong_with_a_table(images, text, where, found, hint):
    with pytest.raises(SourceError, match=found) as caught:
        listed(images / "t.csv", text)
    assert caught.value.where.endswith(where)
    assert hint in caught.value.hint


def test_missing_columns_and_files(images):
    text = "image_name,rating\nimages/a.png,1\n"
    with pytest.raises(SourceError, match="expected a column 'imagename'") as caught:
        listed(images / "t.csv", text, column="imagename")
    assert caught.value.hint == "did you mean 'image_name'?"
    with pytest.raises(SourceError, match="expected a column 'subject'") as caught:
        listed(images / "t.csv", text, column="image_name", id="subject")
    assert "image_name, rating" in caught.value.hint
    with pytest.raises(SourceError, match="no such file"):
        listed(images / "none.csv")
    with pytest.raises(SourceError, match="expected a path per line"):
        listed(images / "e.txt", "\n")
    with pytest.raises(SourceError, match="as Parquet"):
        listed(images / "t.parquet", "no parquet")


@pytest.mark.parametrize(
    "options", [{"path": "t.xlsx"}, {"path": "t.txt", "id": "x"}, {"path": "t.txt", "column": "x"}]
)
def test_the_config(options):
    with pytest.raises(ValidationError):
        ImageTableConfig(**options)
    assert ImageTableConfig(path="a/ratings.v2.csv").label() == "ratings.v2"


def test_jitter_columns_may_not_clash(images):
    text = "path,jitter_noise\nimages/a.png,1\n"
    source = table(images / "t.csv", text, replicates=2, jitter={"noise": 0.1})
    with pytest.raises(SourceError, match="a column 'jitter_noise' already"):
        source.listing()
