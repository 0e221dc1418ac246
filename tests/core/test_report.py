"""The report: sound HTML that holds every fact, loads nothing, runs nothing and stays small."""

# ruff: noqa: RUF001 (the dash and the multiplication sign are meant)
from __future__ import annotations

import re
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
from PIL import Image

from actx_core.report import (
    AnalysisView,
    ArrayView,
    ModelView,
    ReportPage,
    SourceView,
    TableView,
    words,
    write_report,
)
from actx_core.report.maps import draw_maps
from actx_core.report.pictures import Album, Picture, thumbnail
from actx_core.types import Preview
from actx_core.units import size

VOID = {"meta", "img", "wbr", "br", "link", "input"}
EVIL = """<script>alert("x")</script>'"</style><img src=https://evil.example/x onerror=alert(1)>"""


class Reader(HTMLParser):
    """Checks that tags are balanced; keeps elements, their attributes and the text that is read."""

    def __init__(self, html):
        super().__init__()
        self.stack, self.elements, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"<{tag}> repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        self.texts.append("" if tag == "wbr" else " ")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        if self.stack and self.stack[-1] != "style":
            self.texts.append(data)

    def all(self, *tags):
        return [attrs for tag, attrs in self.elements if tag in tags]

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    @property
    def pictures(self):
        return [Image.open(BytesIO(decoded(a["href"]))) for a in self.all("image")]


def decoded(uri):
    return b64decode(uri.partition(";base64,")[2])


def encoded(image, kind="PNG", **options):
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(seed, width=160, height=120):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Preview("image", encoded(Image.fromarray(pixels)), f"noise {seed}")


@pytest.fixture
def read(tmp_path):
    def write_and_read(page):
        path = tmp_path / "report.html"
        assert write_report(page, path) == path
        assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
        return Reader(path.read_text("utf-8"))

    return write_and_read


@pytest.fixture(scope="module")
def photos():
    return {
        name: Preview(
            "image", encoded(Image.fromarray(getattr(skimage.data, name)())), f"{name}.png"
        )
        for name in ("astronaut", "chelsea", "coffee", "rocket")
    }


@pytest.fixture(scope="module")
def page(photos):
    figure = encoded(Image.new("RGBA", (1260, 700), (0, 114, 178, 90)))
    tap = "rotated/vit_base_patch16_clip_224.laion2b_ft_in12k_in1k/blocks.11.attn.proj_drop@in:3"
    return ReportPage(
        title="Photographs",
        facts=[("duration", "3 min 12 s"), ("device", "cpu, 2 threads")],
        sources=[
            SourceView(
                "photos", "image-folder", 1240, ["sample", "label"], [*photos.values(), None]
            ),
            SourceView("stream", "text", None, ["text"], [Preview("text", "The film", "review-1")]),
        ],
        models=[
            ModelView("lite0", "torchvision", [("weights", "DEFAULT")]),
            ModelView("vit", "timm"),
        ],
        arrays=[
            ArrayView(
                tap, 1240, ("channel", "y"), (16, 28), "float16", 1_111_040, "mean over x", 0.5, 2
            ),
            ArrayView("photos/lite0/head", 1240, (), (), "float32", 4960, nonfinite=1532),
        ],
        analyses=[
            AnalysisView(
                id="concepts",
                type="kmeans",
                input=tap,
                notes=["warning: 2 of 384 dimensions dominate", "sampled"],
                metrics={"inertia_k4": 1234567.0},
                tables=[
                    TableView.of(
                        "fits", {"k": [4], "silhouette": [None]}, "analyses/concepts/fits.csv"
                    ),
                    TableView.of(
                        "assignments",
                        {"sample": [f"s{n}.png" for n in range(1240)], "cluster": range(1240)},
                    ),
                ],
                figures={"clusters_k4": figure},
                groups={"cluster 0 (17 rows)": [photos["chelsea"], photos["coffee"]]},
                folder="analyses/concepts/a%2fb",
            ),
            AnalysisView("pca", "pca", "photos/lite0/head"),
        ],
        timings=[("plan", 0.31), ("extract photos/lite0", 125.0)],
        skipped=[("broken/DSC_1.JPG", "cannot identify image file")],
        problems=["1,532 values are not finite"],
        notes=["batch halved to 16"],
        command="actx run pipeline.toml --set run.batch_size=32",
        versions={"actx-core": "0.1.0", "torch": "2.14.1"},
    )


def test_every_fact_is_on_the_page(read, page):
    text = read(page).text
    for fact in (
        "Photographs",
        "2 models read 1,240 samples of 2 sources: 2 arrays, 1.12 MB stored; 2 analyses; 1 sample skipped.",
        "duration 3 min 12 s", "device cpu, 2 threads",
        "photos image-folder 1,240 samples; columns sample, label", "astronaut.png", "rocket.png",
        "stream text a stream of samples; columns text The film review-1",
        "lite0 torchvision weights DEFAULT", "vit timm",
        f"{page.arrays[0].name} 1,240 channel 16 × y 28 mean over x float16 1.11 MB 0.5 ± 2 0",
        "photos/lite0/head 1,240 one number – float32 4.96 kB – ± – 1,532",
        f"concepts kmeans of {page.arrays[0].name}", "warning: 2 of 384 dimensions dominate", "sampled",
        "inertia_k4 1.235e+06", "clusters_k4", "cluster 0 (17 rows)",
        "Table fits: 1 row k silhouette 4 – analyses/concepts/fits.csv",
        "Table assignments: first 10 of 1,240 rows sample cluster s0.png 0 s1.png 1",
        "pca pca of photos/lite0/head", "plan 0.3 s", "extract photos/lite0 2 min 5 s",
        "broken/DSC_1.JPG cannot identify image file", "1,532 values are not finite", "batch halved to 16",
        "actx run pipeline.toml --set run.batch_size=32", "actx-core 0.1.0 torch 2.14.1",
    ):  # fmt: skip
        assert fact in text


def test_nothing_is_loaded_from_anywhere(read, page):
    html = read(page)
    csp = [
        m["content"] for m in html.all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    ]
    assert csp == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not html.all("script", "link", "iframe", "object", "embed", "base", "form")
    for _, attributes in html.elements:
        assert all(name not in attributes for name in ("srcset", "action", "data", "poster"))
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "./", "data:image/"))


def test_the_styles_load_nothing(read, page, tmp_path):
    read(page)
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.S)[1]
    assert not re.search(r"url\(|@import|https?:", style)


def test_links_inside_the_page_and_to_files_hold(read, page):
    html = read(page)
    ids = [attributes["id"] for _, attributes in html.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    inside = [a["href"][1:] for a in html.all("a", "use") if a["href"].startswith("#")]
    assert set(inside) <= set(ids)
    labels = [a["aria-labelledby"] for _, a in html.elements if "aria-labelledby" in a]
    assert set(labels) <= set(ids)
    assert {
        "data",
        "models",
        "analyses",
        "analysis-2",
        "arrays",
        "timings",
        "skipped",
        "made",
    } <= set(inside)
    files = {a["href"] for a in html.all("a") if a["href"].startswith("./")}
    assert files == {"./analyses/concepts/a%252fb", "./analyses/concepts/fits.csv"}


def test_it_can_be_read_without_eyes_or_mouse(read, page):
    html = read(page)
    assert html.all("html") == [{"lang": "en"}]
    assert len(html.all("main")) == len(html.all("nav")) == len(html.all("h1")) == 1
    assert all(img["alt"] for img in html.all("img"))
    assert all(a.get("aria-label") or a.get("aria-hidden") for a in html.all("svg"))
    assert all(th.get("scope") in ("row", "col") for th in html.all("th"))
    boxes = [div for div in html.all("div") if div.get("class") == "scroll"]
    assert boxes
    assert all(box["tabindex"] == "0" and box["role"] == "region" for box in boxes)
    levels = [int(tag[1]) for tag, _ in html.elements if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_same_page_gives_the_same_bytes(page, tmp_path):
    first, second = (
        write_report(page, tmp_path / name).read_bytes() for name in ("a.html", "b.html")
    )
    assert first == second


def test_what_the_page_shows_is_never_markup(read):
    view = AnalysisView(
        id=EVIL, type=EVIL, input=EVIL, notes=["warning: " + EVIL], metrics={EVIL: 1.0},
        tables=[TableView(EVIL, [EVIL], [[EVIL]], 1, "javascript:alert(1)")],
        figures={EVIL: b"<svg>" + EVIL.encode(), "other" + EVIL: b"no picture"},
        groups={EVIL: [Preview("text", EVIL, EVIL)]}, folder="//evil.example/x",
    )  # fmt: skip
    previews = [Preview(kind, EVIL, EVIL) for kind in ("text", "image", "svg")]
    page = ReportPage(
        title=EVIL, subtitle=EVIL, facts=[(EVIL, EVIL)],
        sources=[SourceView(EVIL, EVIL, 1, [EVIL], previews)],
        models=[ModelView(EVIL, EVIL, [(EVIL, EVIL)])],
        arrays=[ArrayView(EVIL, 1, (EVIL,), (1,), EVIL, 4, EVIL)], analyses=[view],
        timings=[(EVIL, 1.0)], skipped=[(EVIL, EVIL)], problems=[EVIL], notes=[EVIL],
        command=EVIL, versions={EVIL: EVIL},
    )  # fmt: skip
    html = read(page)
    assert not html.all("script")
    assert len(html.all("style")) == 1
    for _, attributes in html.elements:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "./", "data:image/"))
    assert html.text.count(EVIL) > 30
    assert {a["href"] for a in html.all("a")} >= {"./javascript%3Aalert%281%29", "./evil.example/x"}


def test_photographs_become_small_jpegs_stored_once(read, page, photos):
    html = read(page)
    shown = [a["href"] for a in html.all("use")]
    assert len(shown) == 6
    assert len(set(shown)) == len(html.pictures) == 4
    for picture, attributes in zip(html.pictures, html.all("image"), strict=True):
        assert picture.format == "JPEG"
        assert max(picture.size) == 160
        assert picture.size == (int(attributes["width"]), int(attributes["height"]))
    chelsea = html.pictures[1].convert("RGB")
    wanted = Image.open(BytesIO(photos["chelsea"].data)).resize(
        chelsea.size, Image.Resampling.BICUBIC
    )
    assert np.abs(np.asarray(chelsea, float) - np.asarray(wanted, float)).mean() < 4


def test_orientation_transparency_and_tiny_pictures(read):
    upright = Image.new("RGB", (300, 100), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Preview("image", encoded(upright, "JPEG", exif=exif), "turned")
    glass = Preview("image", encoded(Image.new("RGBA", (100, 100), (0, 0, 0, 0))), "glass")
    digit = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4)
    tiny = Preview("image", encoded(digit), "digit")
    html = read(ReportPage("x", sources=[SourceView("s", "t", 3, previews=[turned, glass, tiny])]))
    first, second, third = html.pictures
    assert first.size == (53, 160)
    assert second.convert("RGB").getpixel((50, 50)) == (255, 255, 255)
    assert third.format == "PNG"
    assert np.array_equal(np.asarray(third.convert("L")), np.asarray(digit))
    assert [svg["class"] for svg in html.all("svg")[:3]] == ["thumb", "thumb", "thumb pixels"]


def test_previews_that_are_no_photographs(read):
    previews = [
        None,
        Preview("image", b"\x89PNG damaged", "bad.png"),
        Preview("text", "word " * 200, "long"),
        Preview("svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", "board"),
    ]
    html = read(ReportPage("x", sources=[SourceView("s", "t", 4, previews=previews)]))
    assert "no picture bad.png" in html.text
    assert "word word…" in html.text
    assert html.text.count("word") < 60
    (board,) = html.all("image")
    assert board["href"].startswith("data:image/svg+xml;base64,")
    assert decoded(board["href"]) == previews[3].data.encode()


def test_six_hundred_clusters_of_two_methods_stay_below_the_bound(read, tmp_path):
    previews = [noise(seed, 160, 160) for seed in range(608)]
    nearest = {f"cluster {c} ({600 - c} rows)": previews[c : c + 8] for c in range(600)}
    farthest = {f"{title}, farthest": strip[4:] for title, strip in nearest.items()}
    groups = {t: s for pair in zip(nearest.items(), farthest.items()) for t, s in pair}
    places = np.random.default_rng(1).standard_normal((2000, 2))
    maps = draw_maps("map", places, dict.fromkeys("abc", [0, 1] * 1000), ["x"] * 2000, 2000)
    table = TableView.of(
        "clusters", {name: range(600) for name in ("cluster", "rows", "q")}, "c.csv"
    )
    views = [
        AnalysisView(f"kmeans-{n}", "kmeans", "a/b/c", tables=[table], maps=maps, groups=groups)
        for n in range(2)
    ]
    html = read(ReportPage("many", analyses=views))
    assert 5_000_000 < (tmp_path / "report.html").stat().st_size <= 14_000_000
    assert len(html.pictures) >= 600
    assert max(max(picture.size) for picture in html.pictures) == 96
    for cluster in range(600):
        assert html.text.count(f"cluster {cluster} ({600 - cluster} rows)") >= 2
    folded = [a for a in html.all("details") if a.get("class") == "fold"]
    assert len(folded) == 2 * 12  # 588 clusters of each method, 50 at a time
    assert "Printed are the first 62 of 600 groups." in html.text
    assert html.text.count("farthest") >= 1200
    assert "Table clusters: 600 rows" in html.text
    assert len(html.all("circle")) == 2 * 3 * 2000


def test_strips_are_cut_to_an_equal_share():
    long, short = ([Preview("image", f"{n} of {m}") for n in range(m)] for m in (12, 6))
    album = Album([long, short], 9000, 99, lambda _, data, side: Picture("", f"{data:1000}", 1, 1))
    assert [len(album.strip(strip)) for strip in (long, short)] == [6, 3]
    assert [picture.id for picture in album.pictures] == [f"p{n}" for n in range(9)]
    album = Album([long, short], 9000, 5, thumbnail)  # so few places
    assert [len(album.strip(strip)) for strip in (long, short)] == [3, 2]


def test_groups_stand_under_what_their_titles_share(read):
    strip = [Preview("text", "a cat sat", "one")]
    titles = [
        "k = 2: cluster 0",
        "k = 2: cluster 0, farthest",
        "k = 2: cluster 1",
        "k = 9: cluster 0",
    ]
    titles += ["k = 9: cluster 1", "nearest to a: b"]
    html = read(
        ReportPage("x", analyses=[AnalysisView("a", "t", "i", groups=dict.fromkeys(titles, strip))])
    )
    assert html.text.count("k = 2") == html.text.count("k = 9") == 1
    assert "k = 2 cluster 0 a cat sat one farthest a cat sat one cluster 1 a cat" in html.text
    assert "Examples nearest to a: b a cat sat" in html.text


def test_tokens_stand_in_their_context(read):
    text = "word " * 40 + "the\n<b>cat</b> sat" + " word" * 40
    token = Preview("text", text, "doc 7", span=(204, 214))
    html = read(ReportPage("x", analyses=[AnalysisView("a", "t", "i", groups={"g": [token]})]))
    assert "doc 7" in html.text
    assert re.search(r"word the <b>cat</b>  ?sat word", html.text)
    assert len(html.all("mark")) == 1
    assert html.text.count("word") < 40


def test_long_lists_end_with_a_count(read, tmp_path):
    arrays = [
        ArrayView(f"s/m/{'x' * 500}{n}", 1, ("channel",), (4,), "float32", 16) for n in range(450)
    ]
    columns = {f"c{n}": range(1200) for n in range(14)}
    views = [AnalysisView("a", "t", "i", tables=[TableView.of("wide", columns)])] * 230
    skipped = [(f"img{n}", "why " * 200) for n in range(5000)]
    html = read(ReportPage("long", arrays=arrays, analyses=views, skipped=skipped))
    assert "Not shown here: 50 arrays." in html.text
    assert "Not shown here: 30 analyses." in html.text
    assert "Not shown here: 4,600 samples." in html.text
    assert "Table wide: first 10 of 1,200 rows, first 12 of 14 columns" in html.text
    assert (tmp_path / "report.html").stat().st_size < 14_000_000


def test_figures_too_large_together_are_reduced_not_dropped(read):
    smooth = np.linspace(0, 255, 2000 * 1200 * 4).astype(np.uint8).reshape(1200, 2000, 4)
    grain = np.random.default_rng(1).integers(0, 30, smooth.shape, dtype=np.uint8)
    large = encoded(Image.fromarray(smooth // 2 + grain), compress_level=1)
    assert len(large) > 3_000_000
    html = read(ReportPage("x", analyses=[AnalysisView("a", "t", "i", figures={"f": large})]))
    (img,) = html.all("img")
    assert Image.open(BytesIO(decoded(img["src"]))).width in (1000, 700, 500)


def test_a_figure_that_is_no_picture_is_named(read):
    view = AnalysisView("a", "t", "i", figures={"movie": b"RIFF...."}, folder="analyses/a")
    html = read(ReportPage("x", analyses=[view]))
    assert "movie: not shown here, see the folder of the results" in html.text
    assert not html.all("img")


def test_without_pillow_small_pictures_stay_as_they_are(read, page, monkeypatch):
    small = Preview("image", encoded(Image.new("RGB", (200, 200), "green")), "small")
    source = SourceView("s", "t", 2, previews=[small, noise(0)])
    monkeypatch.setitem(sys.modules, "PIL", None)
    html = read(replace(page, sources=[source], analyses=page.analyses[:1]))
    hrefs = [decoded(image["href"]) for image in html.all("image")]
    assert small.data in hrefs
    assert "no picture noise 0" in html.text
    assert len(html.all("img")) == 1


def test_a_sentence_that_is_given_replaces_the_one_made(read, page):
    text = read(replace(page, subtitle="Two models on one afternoon.")).text
    assert "Photographs Two models on one afternoon. duration" in text
    assert "2 models read" not in text


def test_file_names_that_are_not_unicode_do_no_harm(read):
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    view = AnalysisView(name, "t", name, groups={"g": [Preview("text", name, name)]}, folder=name)
    page = ReportPage(
        "x", sources=[SourceView(name, "t", 1)], analyses=[view], skipped=[(name, "")]
    )
    assert read(page).text.count("caf?.jpg") >= 6


def test_an_empty_run_has_a_page(read):
    html = read(ReportPage("nothing"))
    assert "nothing Nothing has run yet." in html.text
    assert not html.all("table", "dl", "img", "h3")


def test_a_run_without_arrays_says_so(read):
    html = read(
        ReportPage("x", sources=[SourceView("photos", "t", 3)], models=[ModelView("net", "t")])
    )
    assert "net read 3 samples of photos: nothing stored yet." in html.text


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        (size(0), "0 B"), (size(999), "999 B"), (size(1000), "1.00 kB"),
        (size(999_400), "999 kB"), (size(999_600), "1.00 MB"), (size(12_345_678), "12.3 MB"),
        (size(5 * 10**15), "5000 TB"),
        (words.duration(0), "0.0 s"), (words.duration(0.01), "< 0.1 s"), (words.duration(9.97), "10 s"),
        (words.duration(59.7), "1 min 0 s"), (words.duration(3599.8), "1 h 0 min"),
        (words.duration(12_060), "3 h 21 min"),
        (words.number(None), "–"), (words.number(float("nan")), "–"), (words.number(123456789), "123456789"),
        (words.number(np.int32(7)), "7"), (words.number(np.float32(0.1)), "0.1"),
        (words.number(float("-inf")), "-inf"), (words.cell(True), "True"), (words.cell("x" * 200)[-2:], "x…"),
        (words.count(1, "analysis"), "1 analysis"), (words.count(0, "analysis"), "0 analyses"),
        (words.count(1240, "sample"), "1,240 samples"),
    ],
)  # fmt: skip
def test_words(written, wanted):
    assert written == wanted


def test_a_table_is_cut_to_its_first_rows():
    table = TableView.of("t", {"a": range(3000), "b": np.arange(3000)})
    assert (table.columns, table.total) == (["a", "b"], 3000)
    assert table.rows == [(n, n) for n in range(1000)]
    assert TableView.of("t", {"a": [1, 2]}, total=7).total == 7
    assert TableView.of("t", {}).total == TableView.of("t", {"a": []}).total == 0
