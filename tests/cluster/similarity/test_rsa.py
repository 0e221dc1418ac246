"""RSA against scipy and rsatoolbox: p, intervals, ceilings, matching by name, files of behaviour."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, spearmanr

from actx_cluster.similarity import saved
from actx_cluster.similarity.compare import Comparer, bootstrap, noise_ceiling, permutation_p
from actx_cluster.similarity.config import RsaConfig
from actx_cluster.similarity.rsa import Rsa
from actx_cluster.similarity.saved import Saved
from actx_core import AnalysisError

RANDOM = np.random.default_rng(0)
BASE = RANDOM.normal(size=(24, 6))
NAMES = [f"s{row:02d}" for row in range(24)]


def noisy(noise, size=12, seed=0):
    generator = np.random.default_rng(seed)
    rows = BASE @ generator.normal(size=(6, size)) + noise * generator.normal(size=(24, size))
    return rows.astype("float32")


def rsa(inputs, out, **options):
    return Rsa(RsaConfig(**{"permutations": 19, "bootstraps": 20} | options)).run(inputs, out)


def rdms(count=4):
    return np.array([pdist(noisy(0.5 * k, seed=k)) for k in range(count)])


@pytest.mark.parametrize(
    ("compare", "scipy"),
    [
        ("pearson", pearsonr),
        ("spearman", spearmanr),
        ("kendall", kendalltau),
        ("cosine", lambda a, b: (a @ b / np.sqrt((a @ a) * (b @ b)), 0)),
    ],
)
def test_similarity_equals_scipy(tap, tmp_path, compare, scipy):
    arrays = [noisy(k, seed=k) for k in range(3)]
    taps = [tap(a, f"p/net/l{k}", sample=NAMES) for k, a in enumerate(arrays)]
    found = rsa(taps, tmp_path, compare=compare, metric="euclidean", permutations=0, bootstraps=0)
    wanted = [scipy(pdist(arrays[i]), pdist(arrays[j]))[0] for i, j in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(found.tables["pairs"]["similarity"], wanted, atol=1e-5)
    assert found.tables["pairs"]["p"] == found.tables["pairs"]["low"] == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_matched_by_name_whatever_their_order(tap, tmp_path):
    array, other = noisy(0), noisy(1, seed=1)
    order = np.random.default_rng(3).permutation(24)[:20]
    taps = [
        tap(array, "p/net/a", sample=NAMES),
        tap(other[order], "q/net/b", sample=[NAMES[row] for row in order]),
    ]
    found = rsa(taps, tmp_path)
    kept = np.sort(order)
    wanted = spearmanr(pdist(array[kept], "correlation"), pdist(other[kept], "correlation"))[0]
    assert found.tables["pairs"]["similarity"][0] == pytest.approx(wanted, abs=1e-5)
    assert found.notes == [
        "20 conditions, matched by sample",
        "4 of the 24 conditions of p/net/a are not in all inputs and were left out",
    ]


@pytest.mark.parametrize("how", ["pearson", "spearman", "cosine", "kendall"])
def test_relabelling_equals_a_permuted_square(how):
    values = rdms(3)
    comparer = Comparer(values, how)
    order = np.random.default_rng(1).permutation(24)
    moved = np.array([squareform(squareform(v)[np.ix_(order, order)]) for v in values])
    wanted = Comparer(np.concatenate([moved, values]), how).observed()[:3, 3:]
    np.testing.assert_allclose(comparer.permuted(order), wanted, atol=1e-10)


@pytest.mark.parametrize("how", ["pearson", "spearman", "cosine", "kendall"])
def test_drawing_equals_copied_conditions_without_pairs_of_one(how):
    values = rdms(3)
    drawn = np.random.default_rng(2).integers(24, size=24)
    i, j = np.triu_indices(24, 1)
    different = drawn[i] != drawn[j]
    copied = np.array([squareform(v)[drawn[i], drawn[j]][different] for v in values])
    found = Comparer(values, how).drawn(np.bincount(drawn, minlength=24))
    scipy = {"pearson": pearsonr, "spearman": spearmanr, "kendall": kendalltau}
    for a in range(3):
        for b in range(a):
            x, y = copied[a], copied[b]
            wanted = x @ y / np.sqrt(x @ x * (y @ y)) if how == "cosine" else scipy[how](x, y)[0]
            assert found[a, b] == pytest.approx(wanted, abs=1e-9)


def test_p_is_uniform_without_a_relation_and_small_with_one(tmp_path):
    generator = np.random.default_rng(5)
    values = np.array([pdist(generator.normal(size=(12, 4))) for _ in range(24)])
    p = permutation_p(Comparer(values, "spearman"), 99, 0, Saved(tmp_path / "p.npz"))
    unrelated = p[np.triu_indices(24, 1)]
    assert 0.4 < unrelated.mean() < 0.6
    assert 0.01 < (unrelated <= 0.05).mean() < 0.10
    p = permutation_p(Comparer(rdms(2), "spearman"), 99, 0, Saved(tmp_path / "p.npz"))
    assert p[0, 1] == 0.01


def test_intervals_hold_the_similarity_and_are_seeded(tmp_path):
    comparer = Comparer(rdms(3), "pearson")
    low, high = bootstrap(comparer, 200, 0, Saved(tmp_path / "a.npz"))
    again = bootstrap(comparer, 200, 0, Saved(tmp_path / "b.npz"))
    other = bootstrap(comparer, 200, 1, Saved(tmp_path / "c.npz"))
    assert (low[0, 1:] < comparer.observed()[0, 1:]).all()
    assert (comparer.observed()[0, 1:] < high[0, 1:] + 0.02).all()
    np.testing.assert_array_equal(low, again[0])
    assert (low != other[0]).any()


@pytest.mark.parametrize("loop", [permutation_p, bootstrap])
def test_a_killed_loop_goes_on_to_the_same_result(tmp_path, monkeypatch, loop):
    monkeypatch.setattr(saved, "SECONDS", 0.0)
    comparer = Comparer(rdms(3), "spearman")
    wanted = loop(comparer, 30, 7, Saved(tmp_path / "whole.npz"))
    name = "permuted" if loop is permutation_p else "drawn"
    real, calls = getattr(Comparer, name), []

    def dies(self, argument):
        calls.append(argument)
        if len(calls) == 20:
            raise KeyboardInterrupt
        return real(self, argument)

    monkeypatch.setattr(Comparer, name, dies)
    with pytest.raises(KeyboardInterrupt):
        loop(comparer, 30, 7, Saved(tmp_path / "half.npz"))
    found = loop(comparer, 30, 7, Saved(tmp_path / "half.npz"))
    assert len(calls) == 20 + 30 - 19
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("how", "method"), [("cosine", "cosine"), ("pearson", "corr"), ("spearman",) * 2]
)
def test_the_noise_ceiling_equals_rsatoolbox(how, method):
    pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
    from rsatoolbox.inference.noise_ceiling import boot_noise_ceiling
    from rsatoolbox.rdm import RDMs

    values = np.array([pdist(noisy(2, seed=k)) for k in range(5)])
    low, high = boot_noise_ceiling(RDMs(values), method=method)
    assert noise_ceiling(values, how) == pytest.approx((low, high), abs=1e-6)


def test_replicates_are_compared_and_bound_the_model(tap, tmp_path):
    array = np.concatenate([noisy(1, seed=0) + 0.5 * noisy(1, seed=9 + k) for k in range(3)])
    replicate = [row // 24 for row in range(72)]
    data = tap(array, "p/net/l0", sample=NAMES * 3, replicate=replicate)
    found = rsa([data], tmp_path, split="replicate", metric="euclidean", compare="pearson")
    assert found.tables["rdms"]["rdm"] == [f"p/net/l0 replicate={k}" for k in range(3)]
    values = np.array([pdist(array[24 * k : 24 * k + 24]) for k in range(3)])
    ceilings = found.tables["ceilings"]
    assert ceilings["measures"] == ["p/net/l0"]
    assert ceilings["rdms"] == [3]
    lower, upper = noise_ceiling(values, "pearson")
    assert ceilings["lower"][0] == pytest.approx(lower, abs=1e-5)
    assert ceilings["upper"][0] == pytest.approx(upper, abs=1e-5)


def test_depth_bins_average_scaled_matrices(tap, tmp_path):
    arrays = [noisy(1, seed=k) * 10**k for k in range(5)]
    taps = [tap(a, f"p/net/l{k}", sample=NAMES) for k, a in enumerate(arrays)]
    found = rsa(taps, tmp_path, depth_bins=2, metric="euclidean", compare="pearson")
    scaled = [pdist(a) / pdist(a).mean() for a in arrays]
    wanted = pearsonr(np.mean(scaled[:3], axis=0), np.mean(scaled[3:], axis=0))[0]
    assert found.tables["pairs"]["similarity"] == pytest.approx([wanted], abs=1e-5)
    assert found.tables["rdms"]["rdm"] == ["p/net depth 1 of 2", "p/net depth 2 of 2"]
    with pytest.raises(AnalysisError, match="p/net: expected at least 6 taps.*found 5"):
        rsa(taps, tmp_path, depth_bins=6)


def write_csv(path, square, names=NAMES):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", *names])
        writer.writerows([name, *line] for name, line in zip(names, square))


@pytest.mark.parametrize("kind", ["csv", "npy", "condensed", "h5"])
def test_behaviour_is_matched_by_name(tap, tmp_path, kind):
    order = np.random.default_rng(4).permutation(24)
    names = [NAMES[row] for row in order]
    square = squareform(pdist(BASE[order]))
    path = tmp_path / f"ratings.{'npy' if kind == 'condensed' else kind}"
    if kind == "csv":
        write_csv(path, square, names)
    elif kind == "h5":
        rsatoolbox = pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed")
        rdms = rsatoolbox.rdm.RDMs(
            np.stack([squareform(square)] * 2),
            pattern_descriptors={"sample": names, "kind": ["x"] * 24},
            rdm_descriptors={"subject": ["ann", "bob"]},
        )
        rdms.save(str(path), file_type="hdf5")
    else:
        np.save(path, squareform(square) if kind == "condensed" else square)
        path.with_suffix(".txt").write_text("\n".join(names))
    array = noisy(0.5)
    taps = [tap(array, f"p/net/l{k}", sample=NAMES) for k in range(2)]
    (tmp_path / "out").mkdir()
    found = rsa(taps, tmp_path / "out", behaviour=str(path))
    pairs = found.tables["pairs"]
    assert pairs["b"][1] == ("ratings ann" if kind == "h5" else "ratings")
    wanted = spearmanr(pdist(array, "correlation"), pdist(BASE))[0]
    assert pairs["similarity"][1] == pytest.approx(wanted, abs=1e-5)
    assert pairs["p"][1] == 0.05
    assert set(found.figures) > {"matrix"}
    assert ("ceilings" in found.tables) == (kind == "h5")


def test_our_own_rdm_file_is_behaviour_too(tap, tmp_path):
    from actx_cluster.similarity.behaviour import read_behaviour
    from actx_cluster.similarity.config import RdmConfig
    from actx_cluster.similarity.rdm import Rdm

    found = Rdm(RdmConfig(rsatoolbox=True)).run([tap(BASE, sample=NAMES)], tmp_path)
    read = read_behaviour(tmp_path / "rdm.h5", "sample")
    assert read.conditions == NAMES
    np.testing.assert_array_equal(read.values[0], found.arrays["rdm"][0])


def test_bad_files_are_told(tap, tmp_path):
    taps = [tap(noisy(0), sample=NAMES)]
    path = tmp_path / "ratings.csv"
    square = squareform(pdist(BASE))

    def refused(message):
        with pytest.raises(AnalysisError, match=message):
            rsa(taps, tmp_path, behaviour=str(path))

    write_csv(path, 1 - square)
    refused("diagonal is not zero.*1 - similarity")
    write_csv(path, square + np.triu(np.ones((24, 24)), 1))
    refused("not symmetric: 's00', 's01'")
    write_csv(path, square, [*NAMES[1:], "s01"])
    refused(r"several conditions are named \['s01'\]")
    write_csv(path, square, [f"t{k}" for k in range(24)])
    refused("no condition is in photos/net/layer and in ratings: .*'s00'.*'t0'")
    write_csv(path, np.where(square == square[3, 5], np.nan, square))
    refused("the pair 's03', 's05' has no finite value")
    path.write_text("x,a,b\na,0,1\nc,1,0\n")
    refused(r"ratings.csv:3: expected 'b' and 2 numbers, found 'c' and 2")
    path.write_text("x,a,b\na,0,one\nb,1,0\n")
    refused(r"ratings.csv:2: expected numbers: .*'one'")
    path.write_text("x,a,b\na,0,1\n")
    refused("found 2 names and 1 lines")
    path = tmp_path / "ratings.npy"
    np.save(path, square)
    refused("names of its conditions beside it.*ratings.txt")
    path.with_suffix(".txt").write_text("\n".join(NAMES[:20]))
    refused("expected 20 x 20 numbers")
    path = tmp_path / "ratings.h5"
    path.write_text("no HDF5")
    refused("expected RDMs of rsatoolbox")
    with pytest.raises(ValueError, match="no such file"):
        RsaConfig(behaviour="missing.csv")


def test_bad_input_is_told(tap, tmp_path):
    first = tap(noisy(0), "p/net/a", sample=NAMES)
    with pytest.raises(AnalysisError, match="at least 2 matrices to compare, found 1"):
        rsa([first], tmp_path)
    other = tap(noisy(0), "p/net/b", sample=[f"t{k}" for k in range(24)])
    with pytest.raises(AnalysisError, match="no condition is in p/net/a and in p/net/b"):
        rsa([first, other], tmp_path)
    few = tap(noisy(0)[:3], "p/net/c", sample=NAMES[:3])
    with pytest.raises(AnalysisError, match="at least 4 conditions.*found 3"):
        rsa([first, few], tmp_path)
    with pytest.raises(AnalysisError, match="no column 'trial'"):
        rsa([first], tmp_path, split="trial")
    equal = tap(np.eye(24), "p/net/d", sample=NAMES)
    with pytest.raises(AnalysisError, match="p/net/d: all distances are equal"):
        rsa([first, equal], tmp_path)
