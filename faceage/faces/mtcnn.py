"""The MTCNN of the `mtcnn` package (Zhang et al. 2016), fit for batches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def load_mtcnn() -> Any:
    """An `mtcnn.MTCNN` whose stages are traced once, and whose answers for a photo do not hang on its batch."""
    import mtcnn
    import tensorflow as tf
    from mtcnn import stages

    from faceage.backend import fix_settings, in_float32

    fix_settings()
    # By its whole path: a file of that name in the current folder would be unpickled instead.
    weights = Path(mtcnn.__file__).parent / "assets" / "weights"
    with in_float32(), _lz4_unheard():
        loaded = mtcnn.MTCNN(
            [
                stages.StagePNet(weights=str(weights / "pnet.lz4")),
                stages.StageRNet(weights=str(weights / "rnet.lz4")),
                stages.StageONet(weights=str(weights / "onet.lz4")),
            ]
        )
    first, second, third = (stage._model for stage in loaded.stages)
    for scores in (first.conv4_2, second.fc5_2, third.fc6_3):
        scores.activation = _unsaturated_softmax
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    for stage in loaded.stages:
        # Called eagerly, as the package does, each layer is dispatched from Python for every pyramid level.
        stage._model = tf.function(stage._model, input_signature=signature)
    return loaded


@contextmanager
def _lz4_unheard() -> Iterator[None]:
    """From Python 3.13 on, joblib flushes its reader of lz4 files after it is closed, which is printed as an error."""
    hook = sys.unraisablehook
    sys.unraisablehook = lambda report: None if report.exc_type is ValueError else hook(report)
    try:
        yield
    finally:
        sys.unraisablehook = hook


def _unsaturated_softmax(logits: Any) -> Any:
    """In float32 the best places of a large face all score 1, and which photos share a batch decides between them."""
    import tensorflow as tf

    return tf.nn.softmax(tf.cast(logits, tf.float64))
