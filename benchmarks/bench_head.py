"""The linear head on 100 labelled windows: our Newton's method against scikit-learn's logistic regression.

Both solve the same problem (anchor zero, l2 0.01) on the features of the shipped bundle, scikit-learn on the columns
[features / s, 1] with C = 1 / l2 and weights of sum 1, by each of its solvers for smooth problems, with the loosest
power of ten as tolerance that brings it to our optimum within 1e-6; the fastest of them counts. Beside it the whole
of what a head run does after the features: eight strengths by five held-out blocks, and the fit.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks._bench import Options, Result, interleave, ratio
from runtime import Bundle, Recording, labelled_windows, open_engine
from sdk.finetune import LabelledSet, finetune
from sdk.finetune.head import HeadProblem

DATA = Path(__file__).parent.parent / "sdk" / "demo" / "data"
N, L2, CLOSE = 100, 0.01, 1e-6
SOLVERS = ("lbfgs", "newton-cg")  # newton-cholesky builds a Hessian of 18,000 squared: gigabytes


def run(options: Options) -> Result:
    """Solve it by turns."""
    result = Result("head")
    bundle = Bundle.open(DATA / "walk.bundle", "base")
    data = _labelled(bundle)
    features = open_engine(bundle).run(data.windows, "features")
    zeros = np.zeros((len(bundle.manifest.labels), features.shape[1]), np.float32)

    def ours() -> np.ndarray:
        problem = HeadProblem(features, data.labels, weight=zeros, bias=zeros[:, 0])
        fit = problem.fit(L2)
        return np.concatenate([fit.weight, fit.bias[:, None]], axis=1)

    def peer(solver: str, tol: float) -> np.ndarray:
        rows = features.astype(np.float64)
        scale = np.sqrt((rows**2).sum(axis=1).mean())
        columns = np.concatenate([rows / scale, np.ones((len(rows), 1))], axis=1)
        model = LogisticRegression(C=1 / L2, fit_intercept=False, solver=solver, tol=tol, max_iter=5000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a tolerance that rounding cannot reach
            model.fit(columns, data.labels, sample_weight=np.full(len(rows), 1 / len(rows)))
        return np.concatenate([model.coef_[:, :-1] / scale, model.coef_[:, -1:]], axis=1)

    truth = ours()
    result.checks["same_bits_again"] = ours().tobytes() == truth.tobytes()
    candidates = {"ours": ours}
    solvers = ("lbfgs",) if options.quick else SOLVERS
    for solver in solvers:
        for tol in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12):
            distance = np.abs(peer(solver, tol) - truth).max() / np.abs(truth).max()
            if distance <= CLOSE:
                break
        result.figures |= {f"sklearn_{solver}_tol": tol, f"sklearn_{solver}_distance": float(distance)}
        if distance <= CLOSE:
            candidates[solver] = lambda solver=solver, tol=tol: peer(solver, tol)
    result.checks["same_optimum"] = len(candidates) > 1
    seconds = interleave(candidates, rounds=5 if options.quick else 20, calls=1)
    result.figures |= {f"{name}_ms": float(np.median(values)) * 1e3 for name, values in seconds.items()}
    fastest = min((name for name in seconds if name != "ours"), key=lambda name: np.median(seconds[name]))
    result.figures["fastest_sklearn"] = fastest
    result.ratios["ours_vs_sklearn"], result.ratios["ours_vs_sklearn_spread"] = ratio(seconds["ours"], seconds[fastest])
    after = [_after_features(bundle, data) for _ in range(3 if options.quick else 10)]
    result.figures["run_after_features_s"] = float(np.median(after))
    return result


def _labelled(bundle: Bundle) -> LabelledSet:
    """Every so many of a person's labelled windows, N in all."""
    manifest = bundle.manifest
    found = labelled_windows([Recording.load(DATA / "person_6.npz")], manifest.signal, manifest.window, manifest.labels)
    rows = np.linspace(0, len(found.labels) - 1, N).round().astype(int)
    return LabelledSet(found.samples[rows], found.labels[rows], np.ones(N))


def _after_features(bundle: Bundle, data: LabelledSet) -> float:
    """Seconds of a head run for held-out blocks and fit; what it commits is taken away again."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Bundle.open(shutil.copytree(bundle.path, Path(folder) / "b.bundle"), "base")
        _, report = finetune(copy, data)
    return report.phases["judging"].seconds + report.phases["training"].seconds
