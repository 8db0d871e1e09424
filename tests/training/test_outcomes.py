import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from fmrgb_stream.errors import ConfigError
from fmrgb_stream.pipelines.label_columns import NO_LABEL
from fmrgb_stream.training.outcomes import as_values, labels_by_name
from fmrgb_stream.training.prediction_table import prediction_table, write_predictions
from fmrgb_stream.training.scores import class_rows, score_outcomes
from fmrgb_stream.training.window_average import average_windows
from tests.support.training import make_outcomes

RANDOM = np.random.default_rng(7)


def test_probabilities_are_scipys():
    logits = RANDOM.normal(size=(20, 5)).astype(np.float32) * 30

    np.testing.assert_allclose(
        as_values(logits, "softmax"), scipy.special.softmax(logits, axis=1), atol=1e-6
    )
    np.testing.assert_allclose(as_values(logits, "sigmoid"), scipy.special.expit(logits), atol=1e-6)


def test_windows_average_to_numpys_mean_of_their_probabilities():
    keys = tuple("abcabcaab")
    outcomes = make_outcomes(
        outputs=RANDOM.normal(size=(9, 4)), labels=[ord(k) - ord("a") for k in keys], keys=keys
    )

    averaged, num_windows = average_windows(outcomes, by="key")

    softmax = scipy.special.softmax(outcomes.outputs.astype(np.float64), axis=1)
    wanted = [softmax[np.array(keys) == key].mean(axis=0) for key in "abc"]
    np.testing.assert_allclose(averaged.values, wanted, atol=1e-6)
    assert averaged.keys == ("a", "b", "c")
    assert num_windows.tolist() == [4, 3, 2]
    assert averaged.labels.tolist() == [0, 1, 2]


def test_labels_and_targets_of_windows_are_averaged_as_they_are():
    values = RANDOM.normal(size=(6, 2)).astype(np.float32)
    for kind, of in (("targets", lambda x: x), ("labels", scipy.special.expit)):
        outcomes = make_outcomes(
            outputs=values, targets=values > 0, keys=tuple("xxxyyy"), kind=kind
        )
        averaged, _ = average_windows(outcomes, by="key")
        np.testing.assert_allclose(
            averaged.values, of(values).reshape(2, 3, 2).mean(axis=1), atol=1e-6
        )
        np.testing.assert_allclose(
            averaged.targets, (values > 0).reshape(2, 3, 2).mean(axis=1), atol=1e-6
        )


def test_a_group_has_the_span_of_its_windows_and_a_label_only_if_all_agree():
    outcomes = make_outcomes(
        outputs=np.zeros((4, 2)), labels=[1, 1, 0, 1], keys=tuple("abcd"), groups=tuple("ggHH")
    )

    averaged, _ = average_windows(outcomes, by="group")

    assert averaged.keys == averaged.groups == ("g", "H")
    assert averaged.labels.tolist() == [1, NO_LABEL]
    np.testing.assert_array_equal(
        averaged.spans_seconds,
        [
            [outcomes.spans_seconds[first, 0], outcomes.spans_seconds[first + 1, 1]]
            for first in (0, 2)
        ],
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_the_average_of_single_windows_changes_nothing(labels):
    outputs = np.random.default_rng(len(labels)).normal(size=(len(labels), 4))
    outcomes = make_outcomes(outputs=outputs, labels=labels)

    averaged, num_windows = average_windows(outcomes, by="key")

    assert averaged.keys == outcomes.keys
    assert set(num_windows.tolist()) == {1}
    np.testing.assert_allclose(averaged.values, outcomes.values, atol=1e-6)


def test_dataset_labels_become_the_models_by_name():
    labels = labels_by_name(
        np.array([0, 1, NO_LABEL, 0]), found=("dog", "cat"), wanted=("cat", "cow", "dog")
    )

    assert labels.tolist() == [2, 0, NO_LABEL, 2]


def test_a_class_that_the_model_does_not_know_is_named():
    with pytest.raises(ConfigError, match=r"\['hen'\].*it knows \['cat'\].*--unlabelled"):
        labels_by_name(np.array([0]), found=("cat", "hen"), wanted=("cat",))


def test_rows_without_a_label_are_not_scored():
    outcomes = make_outcomes(outputs=[[2.0, 0.0], [2.0, 0.0], [0.0, 2.0]], labels=[0, NO_LABEL, 0])

    scores = score_outcomes(outcomes)

    assert (scores.num_clips, scores.accuracy) == (2, 0.5)


def test_outcomes_without_any_truth_cannot_be_scored():
    with pytest.raises(ConfigError, match="fmrgb predict"):
        score_outcomes(make_outcomes(outputs=np.zeros((2, 2))))


def test_rows_of_classes_are_their_formulas():
    rows = class_rows(((3, 1, 0), (2, 2, 0), (0, 0, 0)), ("a", "b", "c"))

    first, second, third = rows
    assert (first.precision, first.recall, first.f1) == (3 / 5, 3 / 4, 6 / 9)
    assert (second.num_clips, second.num_predicted, second.most_mistaken_for) == (4, 3, "a")
    assert np.isnan([third.precision, third.recall, third.f1]).all()
    assert third.most_mistaken_for == ""


def test_the_table_has_names_probabilities_and_nulls():
    outcomes = make_outcomes(
        outputs=np.log([[0.75, 0.25], [0.4, 0.6]]), labels=[1, NO_LABEL], names=("no", "yes")
    )

    first, second = prediction_table(outcomes).to_pylist()

    assert (first["label"], first["prediction"], first["is_right"]) == ("yes", "no", False)
    assert (second["label"], second["prediction"], second["is_right"]) == (None, "yes", None)
    assert first["probability_no"] == pytest.approx(0.75, abs=1e-6)
    assert (first["split"], first["key"], first["window"]) == ("test", "clip-0", 0)


def test_targets_stand_beside_what_was_predicted():
    outcomes = make_outcomes(
        outputs=[[1.5, 2.0]], targets=[[1.0, np.nan]], names=("v", "a"), kind="targets"
    )

    (row,) = prediction_table(outcomes).to_pylist()

    assert (row["true_v"], row["predicted_v"], row["true_a"]) == (1.0, 1.5, None)


def test_csv_and_parquet_hold_the_same_rows(tmp_path):
    table = prediction_table(
        make_outcomes(outputs=RANDOM.normal(size=(5, 3)), labels=[0, 1, 2, 0, 1])
    )

    write_predictions(tmp_path, "predictions", [table, table])

    from_parquet = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    with (tmp_path / "predictions.csv").open() as stream:
        from_csv = list(csv.DictReader(stream))
    assert len(from_parquet) == len(from_csv) == 10
    assert [row["key"] for row in from_csv] == [row["key"] for row in from_parquet]
    np.testing.assert_allclose(
        [float(row["probability_b"]) for row in from_csv],
        [row["probability_b"] for row in from_parquet],
        rtol=1e-6,
    )
