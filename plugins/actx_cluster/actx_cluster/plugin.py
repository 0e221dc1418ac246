"""What this plugin adds to actx; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator

from actx_core import Component, hookimpl


@hookimpl
def actx_analyzers() -> Iterator[Component]:
    yield Component(
        "kmeans",
        "actx_cluster.clustering.kmeans:KMeans",
        "k-means clusters of a tap's rows: exact, mini-batch or bisecting; one or several k.",
        config="actx_cluster.clustering.config:KMeansConfig",
    )
    yield Component(
        "agglomerative",
        "actx_cluster.clustering.agglomerative:Agglomerative",
        "Hierarchical clusters: exact Ward without n x n memory, average, complete, single.",
        config="actx_cluster.clustering.config:AgglomerativeConfig",
    )
    yield Component(
        "leaders",
        "actx_cluster.clustering.leaders:LeadersWard",
        "Rows that stand for all rows near them, and Ward clusters of those: for very many rows.",
        config="actx_cluster.clustering.config:LeadersConfig",
    )
    yield Component(
        "hdbscan",
        "actx_cluster.clustering.hdbscan:Hdbscan",
        "Dense clusters of any shape, and noise between them.",
        config="actx_cluster.clustering.config:HdbscanConfig",
    )
    yield Component(
        "assign",
        "actx_cluster.clustering.assign:Assign",
        "The clusters of an old result that new rows belong to.",
        config="actx_cluster.clustering.config:AssignConfig",
    )
    yield Component(
        "pca",
        "actx_cluster.parts.pca:Pca",
        "Principal components of a tap's rows; their scores can be analysed in turn.",
        config="actx_cluster.parts.config:PcaConfig",
    )
    yield Component(
        "nmf",
        "actx_cluster.parts.nmf:Nmf",
        "Non-negative parts that add up to a tap's rows, for any number of rows.",
        config="actx_cluster.parts.config:NmfConfig",
    )
    yield Component(
        "ica",
        "actx_cluster.parts.ica:Ica",
        "Independent components of a tap's rows; their values can be analysed in turn.",
        config="actx_cluster.parts.config:IcaConfig",
    )
    yield Component(
        "probe",
        "actx_cluster.probes.probe:Probe",
        "Linear probes of a column from each tap, with control tasks and a figure over depth.",
        config="actx_cluster.probes.config:ProbeConfig",
    )
    yield Component(
        "map",
        "actx_cluster.maps.map:Map",
        "The rows of a tap in a plane: PCA, PaCMAP, UMAP or t-SNE.",
        config="actx_cluster.maps.config:MapConfig",
    )
    yield Component(
        "estimator",
        "actx_cluster.estimator.estimator:Estimator",
        "Any scikit-learn class that clusters, transforms or predicts.",
        config="actx_cluster.estimator.config:EstimatorConfig",
    )
    yield Component(
        "rdm",
        "actx_cluster.similarity.rdm:Rdm",
        "Dissimilarities between all rows of a tap, or between their means by sample or label.",
        config="actx_cluster.similarity.config:RdmConfig",
    )
    yield Component(
        "rsa",
        "actx_cluster.similarity.rsa:Rsa",
        "Dissimilarities of taps, models, sources, replicates and behaviour compared, with p and intervals.",
        config="actx_cluster.similarity.config:RsaConfig",
    )
    yield Component(
        "cka",
        "actx_cluster.similarity.cka:Cka",
        "Centred kernel alignment of taps and models, debiased, in one pass.",
        config="actx_cluster.similarity.config:CkaConfig",
    )
    yield Component(
        "procrustes",
        "actx_cluster.similarity.procrustes:Procrustes",
        "What the best rotation of one tap onto another leaves.",
        config="actx_cluster.similarity.config:ProcrustesConfig",
    )
    yield Component(
        "neighbours",
        "actx_cluster.similarity.neighbours:Neighbours",
        "The nearest rows of each row of a tap.",
        config="actx_cluster.similarity.config:NeighboursConfig",
    )
    yield Component(
        "tuning",
        "actx_cluster.similarity.tuning:Tuning",
        "Mean response of each dimension over a numeric or circular column, and its selectivity.",
        config="actx_cluster.similarity.config:TuningConfig",
    )
    yield Component(
        "conceptx",
        "actx_cluster.concepts.files:ConceptFiles",
        "Clusters of words as ConceptX's files, and as CodeConceptNet.json.",
        config="actx_cluster.concepts.config:WordConfig",
    )
    yield Component(
        "alignment",
        "actx_cluster.concepts.alignment:Alignment",
        "Which clusters carry one label, and which labels are found.",
        config="actx_cluster.concepts.config:AlignmentConfig",
    )
    yield Component(
        "flow",
        "actx_cluster.concepts.flow:Flow",
        "Where the rows of each cluster go in the next layer, and how clusterings agree.",
        config="actx_cluster.concepts.config:FlowConfig",
    )


@hookimpl
def actx_formats() -> Iterator[Component]:
    yield Component(
        "conceptx",
        "actx_cluster.concepts.conceptx:ConceptX",
        "Folders with processed-point.npy, processed-vocab.npy and sentences.json, for ConceptX.",
        config="actx_cluster.concepts.config:WordConfig",
    )
