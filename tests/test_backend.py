"""The one module that knows the backend, against results worked out by hand."""

import os
import runpy

import keras
import numpy as np
import pytest
from commands import faceage_alone
from keras import ops

import faceage.backend
from faceage.backend import compile_step, fastest_dtype, fuse, gradients, input_gradient
from faceage.errors import UsageError


def variable(values) -> keras.Variable:
    return keras.Variable(np.array(values, np.float32))


def test_gradients_are_the_analytic_ones_and_extras_come_through():
    a, b, unused = variable([1.0, -2.0]), variable(3.0), variable(1.0)

    def loss():
        value = ops.sum(ops.square(a.value)) * b.value
        return value, ("extra", value + 1)

    value, extras, found = gradients(loss, [a, b, unused])
    assert float(value) == pytest.approx(15)
    assert extras[0] == "extra"
    assert float(extras[1]) == pytest.approx(16)
    np.testing.assert_allclose(ops.convert_to_numpy(found[0]), [6, -12], rtol=1e-6)
    assert float(found[1]) == pytest.approx(5)
    assert found[2] is None


@pytest.mark.parametrize(
    ("vendor", "features", "expected"),
    [
        ("GenuineIntel", "fma avx2", "float32"),
        ("GenuineIntel", "avx512_bf16 fma", "float32"),
        ("AuthenticAMD", "avx512_bf16 fma", "mixed_bfloat16"),
        ("GenuineIntel", "amx_tile amx_bf16", "mixed_bfloat16"),
    ],
)
def test_bfloat16_is_for_cpus_that_are_faster_with_it(vendor, features, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(faceage.backend, "_CPU_FEATURES", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"vendor_id\t: {vendor}\nflags\t\t: {features}\n")
    assert fastest_dtype() == expected


def test_a_system_that_does_not_name_its_cpus_features_trains_in_float32(monkeypatch, tmp_path):
    monkeypatch.setattr(faceage.backend, "_CPU_FEATURES", tmp_path / "missing")
    assert fastest_dtype() == "float32"


def test_input_gradient_is_that_of_the_sum():
    x = np.array([[1, -2, 3], [0, 0.5, -1]], np.float32)
    found = input_gradient(lambda x: ops.sum(x**3, axis=-1), ops.convert_to_tensor(x))
    np.testing.assert_allclose(ops.convert_to_numpy(found), 3 * x**2, rtol=1e-6)


def penalty(w: keras.Variable, x: np.ndarray):
    """R1 of the logit tanh(x·w)."""
    gradient = input_gradient(lambda x: ops.tanh(ops.matmul(x, w.value)), ops.convert_to_tensor(x))
    return ops.sum(ops.square(gradient))


def test_input_gradient_can_be_differentiated_again():
    w, x = variable([[0.5], [-1.0]]), np.array([[0.3, 0.2], [-1, 1]], np.float32)
    value, _, (found,) = gradients(lambda: (penalty(w, x), ()), [w])
    weight = ops.convert_to_numpy(w)
    t = np.tanh(x @ weight)  # (b, 1)
    slope, curve = 1 - t**2, -2 * t * (1 - t**2)
    # |∂ tanh(x·w)/∂x|² = slope² |w|², and its derivative by w.
    length = np.square(weight).sum()
    assert float(value) == pytest.approx((slope**2).sum() * length, rel=1e-5)
    expected = (2 * slope * curve * length * x).sum(0)[:, None] + 2 * (slope**2).sum() * weight
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4)


def test_a_compiled_step_does_what_the_plain_one_does():
    w, x = variable([[0.5], [-1.0]]), np.random.default_rng(0).standard_normal((4, 2)).astype(np.float32)

    def step(x):
        value, _, (found,) = gradients(lambda: (penalty(w, x), ()), [w])
        return value, found

    compiled = compile_step(step)
    for rows in (4, 3, 4):
        inputs = ops.convert_to_tensor(x[:rows])
        for ours, plain in zip(compiled(inputs), step(inputs), strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(plain), rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces")
def test_a_compiled_step_is_traced_once_for_each_shape():
    traced = []

    def step(x):
        traced.append(x.shape)
        return x + 1

    compiled = compile_step(step)
    for rows in (2, 3, 2, 3, 2):
        compiled(ops.zeros((rows, 4)))
    assert traced == [(2, 4), (3, 4)]


def adam_steps(wrap) -> np.ndarray:
    weight, optimizer = variable([1.0, 2.0]), keras.optimizers.Adam(0.1)
    optimizer.build([weight])
    update = wrap(lambda gradient: optimizer.apply([gradient], [weight]))
    for step in ([1.0, -0.1], [0.5, -0.2], [2, -3]):
        update(ops.convert_to_tensor(np.array(step, np.float32)))
    return ops.convert_to_numpy(weight)


def test_a_fused_update_is_the_optimisers_own():
    fused = adam_steps(fuse)
    np.testing.assert_allclose(fused, adam_steps(lambda update: update), rtol=1e-5)
    assert np.abs(fused - [1, 2]).min() > 0.05


def test_another_backend_is_refused_with_what_to_set(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="is 'jax'; faceage trains and optimises on 'tensorflow' or 'torch'") as error:
        runpy.run_path(faceage.backend.__file__)
    assert "KERAS_BACKEND" in error.value.hint


@pytest.mark.parametrize("name", ["jax", "numpy", "nonsense"])
def test_a_command_refuses_another_backend_in_one_sentence(tmp_path, name):
    environment = {**os.environ, "KERAS_BACKEND": name}
    done = faceage_alone("train", "gan", "--data", tmp_path, "--run", tmp_path / "run", env=environment)
    assert done.returncode == 2
    said, hint = done.stderr.splitlines()
    assert name in said
    assert "'torch'" in said + hint
    assert "KERAS_BACKEND" in hint
    assert not (tmp_path / "run").exists()
