"""The networks: the paper's sizes, shapes and ranges, and the layers that Keras does not have."""

import keras
import numpy as np
import pytest
from keras import ops

from faceage.ages import one_hot
from faceage.backend import gradients
from faceage.images import to_float, to_uint8
from faceage.networks.age_estimator import age_estimator
from faceage.networks.discriminator import discriminator, patch_discriminator, projected_discriminator
from faceage.networks.encoder import encoder
from faceage.networks.generator import generator, with_offset
from faceage.networks.landmarks import landmark_difference, landmark_weights
from faceage.networks.layers import LabelPlanes, UpsampleConv
from faceage.networks.predict import draw, predict
from faceage.networks.re_ager import re_ager
from faceage.networks.recognizer import EMBEDDING_SIZE, feature_difference, kind_of, recognizer, with_features
from faceage.networks.whiten import MIN_FACES, whiten_latents
from faceage.sizes import LATENT_SIZE, OFFSET_SIZE

DTYPES = ("float32", "mixed_bfloat16")


SMALL = {
    "generator": lambda dtype="float32": generator(dtype, width=8),
    "discriminator": lambda dtype="float32": discriminator(dtype, width=8),
    "projected": lambda dtype="float32": projected_discriminator([age_estimator(dtype, width=8)], 8, dtype, width=8),
    "encoder": lambda dtype="float32": encoder(dtype, width=4),
    "age_estimator": lambda dtype="float32": age_estimator(dtype, width=8),
    "recognizer": lambda dtype="float32": recognizer("compact", dtype),
    "re_ager": lambda dtype="float32": re_ager(dtype, widths=(4, 6, 6, 8), depths=(1, 1, 1, 1), size=32),
    "patches": lambda dtype="float32": patch_discriminator((32, 16), 8, dtype, widths=(6, 8)),
}
OUTPUTS = {
    "generator": (64, 64, 3),
    "discriminator": (1,),
    "projected": (5 * 16,),
    "encoder": (LATENT_SIZE,),
    "age_estimator": (6,),
    "recognizer": (EMBEDDING_SIZE,),
    "re_ager": (32, 32, 3),
    "patches": (8 * 8 + 4 * 4,),
}


def random_inputs(network: keras.Model, count: int = 5, scale: float = 1.0) -> list[np.ndarray]:
    """Noise, and for pictures a colour of each one's own, which averaging over the picture leaves."""
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((count, *x.shape[1:])) for x in network.inputs]
    inputs = [x + random.standard_normal((count, 1, 1, x.shape[-1])) if x.ndim == 4 else x for x in inputs]
    return [(scale * x).astype(np.float32) for x in inputs]


def randomise(network: keras.Model) -> keras.Model:
    """Weights and BatchNorm statistics unlike those that a new network starts with."""
    random = np.random.default_rng(1)
    network.set_weights([w + 0.1 * random.standard_normal(w.shape) for w in network.get_weights()])
    return network


def output(network: keras.Model, inputs: list[np.ndarray]) -> np.ndarray:
    return ops.convert_to_numpy(network(inputs if len(inputs) > 1 else inputs[0], training=False))


@pytest.mark.parametrize(
    ("build", "parameters"), [(encoder, 18_287_268), (generator, 34_885_251), (discriminator, 1_569_665)]
)
def test_reference_has_the_papers_parameters(build, parameters):
    assert build().count_params() == parameters


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMALL)
def test_output_is_finite_float32_of_the_right_shape(name, dtype):
    network = SMALL[name](dtype)
    out = network(random_inputs(network) if len(network.inputs) > 1 else random_inputs(network)[0], training=False)
    assert keras.backend.standardize_dtype(out.dtype) == "float32"
    assert out.shape == (5, *OUTPUTS[name])
    assert np.isfinite(ops.convert_to_numpy(out)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMALL)
def test_policy_holds_within_and_the_weights_stay_float32(name, dtype):
    network = SMALL[name](dtype)
    computing = {layer.compute_dtype for layer in network.layers if layer.weights} - {"float32"}
    assert computing == ({"bfloat16"} if dtype == "mixed_bfloat16" else set())
    assert {weight.dtype for weight in network.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_the_reference_recognizer_has_the_papers_parameters_and_leaves_the_global_policy_alone():
    before = keras.config.dtype_policy()
    network = recognizer("inception-resnet-v2", "mixed_bfloat16")
    assert network.count_params() == 54_533_472
    assert keras.config.dtype_policy() is before
    assert network.output_shape == (None, EMBEDDING_SIZE)
    assert network.output.dtype == "float32"
    assert kind_of(network) == "inception-resnet-v2"
    (trunk,) = (layer for layer in network.layers if isinstance(layer, keras.Model))
    assert {layer.compute_dtype for layer in trunk.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}


@pytest.mark.parametrize("dtype", DTYPES)
def test_generator_stays_in_range_and_fills_it(dtype):
    network = randomise(generator(dtype, width=8))
    faces = output(network, random_inputs(network, scale=10.0))
    assert np.abs(faces).max() <= 1
    assert np.abs(faces).max() > 0.9


@pytest.mark.parametrize("dtype", DTYPES)
def test_embeddings_have_length_one(dtype):
    network = randomise(recognizer("compact", dtype))
    embeddings = output(network, random_inputs(network))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert np.ptp(embeddings, axis=0).max() > 1e-3


@pytest.mark.parametrize("dtype", DTYPES)
def test_age_estimator_gives_probabilities(dtype):
    network = randomise(age_estimator(dtype, width=8))
    age = output(network, random_inputs(network))
    assert age.min() >= 0
    np.testing.assert_allclose(age.sum(axis=1), 1, atol=1e-5)
    assert np.ptp(age, axis=0).max() > 1e-3


@pytest.mark.parametrize("name", ["generator", "discriminator", "projected", "re_ager", "patches"])
def test_every_input_reaches_the_output(name):
    network = randomise(SMALL[name]())
    inputs = random_inputs(network)
    plain = output(network, inputs)
    for changed in range(len(inputs)):
        other = [x + 0.5 if i == changed else x for i, x in enumerate(inputs)]
        assert np.abs(output(network, other) - plain).max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_a_face_does_not_depend_on_its_batch(name):
    network = randomise(SMALL[name]())
    inputs = random_inputs(network)
    together = output(network, inputs)
    for i in range(len(together)):
        alone = output(network, [x[i : i + 1] for x in inputs])
        np.testing.assert_allclose(alone[0], together[i], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_gives_the_same_output(name, tmp_path):
    network = randomise(SMALL[name]())
    network.save(tmp_path / "network.keras")
    network.save_weights(tmp_path / "network.weights.h5")
    whole = keras.saving.load_model(tmp_path / "network.keras")
    refilled = SMALL[name]()
    refilled.load_weights(tmp_path / "network.weights.h5")
    inputs = random_inputs(network)
    expected = output(network, inputs)
    assert np.abs(output(SMALL[name](), inputs) - expected).max() > 1e-3
    np.testing.assert_array_equal(output(whole, inputs), expected)
    np.testing.assert_array_equal(output(refilled, inputs), expected)


def test_unknown_recognizer_is_an_error_that_names_the_known():
    with pytest.raises(ValueError, match="'facenet' is none of compact, inception-resnet-v2"):
        recognizer("facenet")


def test_a_recognizer_of_the_compact_kind_is_known_as_such():
    assert kind_of(recognizer()) == kind_of(recognizer("compact", "mixed_bfloat16")) == "compact"


@pytest.fixture(scope="module")
def judging_and_drawing():
    return randomise(SMALL["encoder"]()), randomise(SMALL["generator"]())


@pytest.mark.parametrize("count", [1, 3, 4, 5, 7, 8, 9])
def test_predict_and_draw_give_one_row_each_around_the_batch_edge(judging_and_drawing, count):
    judging, drawing = judging_and_drawing
    faces = np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), np.uint8)
    found = predict(judging, faces, batch_size=4)
    np.testing.assert_allclose(found, output(judging, [to_float(faces)]), atol=1e-4, rtol=1e-4)
    inputs = [x[:count] for x in random_inputs(drawing, 9)]
    drawn = draw(drawing, *inputs, batch_size=4)
    assert drawn.dtype == np.uint8
    # One grey level, where a value lies between two.
    difference = np.abs(drawn.astype(int) - to_uint8(output(drawing, inputs)))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_predict_and_draw_know_one_shape_of_batch():
    network, drawing = SMALL["encoder"](), SMALL["generator"]()
    shapes = []
    for tried in (network, drawing):
        predict_on_batch = tried.predict_on_batch
        tried.predict_on_batch = lambda x, call=predict_on_batch: (shapes.append(np.shape(x[0])), call(x))[1]
    predict(network, np.zeros((6, 64, 64, 3), np.uint8), batch_size=4)
    draw(drawing, np.zeros((6, LATENT_SIZE), np.float32), np.zeros((6, 6), np.float32), batch_size=4)
    assert len(set(shapes)) == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (8, 8), (7, 2)], ids=str)
@pytest.mark.parametrize(("channels", "filters"), [(4, 6), (1, 3)])
def test_upsample_conv_is_upsampling_and_a_5x5_convolution(size, channels, filters):
    random = np.random.default_rng(2)
    x = keras.Variable(random.standard_normal((2, *size, channels)).astype(np.float32))
    weigh = random.standard_normal((2, 2 * size[0], 2 * size[1], filters)).astype(np.float32)
    folded, up, plain = UpsampleConv(filters), keras.layers.UpSampling2D(2), keras.layers.Conv2D(filters, 5, 1, "same")
    folded.build(x.shape)
    plain.build(up.compute_output_shape(x.shape))
    for layer in (folded, plain):
        layer.kernel.assign(np.random.default_rng(3).standard_normal(layer.kernel.shape))
        layer.bias.assign(np.arange(filters))

    def differentiate(draw, layer):
        def loss():
            out = draw(x.value)
            return ops.sum(out * weigh), out

        _, out, found = gradients(loss, [x, layer.kernel, layer.bias])
        return [ops.convert_to_numpy(value) for value in (out, *found)]

    results = differentiate(folded, folded), differentiate(lambda x: plain(up(x)), plain)
    for what, ours, reference in zip(("output", "input", "kernel", "bias"), *results, strict=True):
        # Sums over many pixels: compare with the size of the largest.
        np.testing.assert_allclose(ours, reference, atol=1e-5 * np.abs(reference).max(), rtol=0, err_msg=what)
    assert folded.compute_output_spec(keras.KerasTensor(x.shape)).shape == results[0][0].shape


def test_label_planes_are_constant_and_in_order():
    random = np.random.default_rng(4)
    images = random.standard_normal((3, 4, 5, 2)).astype(np.float32)
    labels = random.standard_normal((3, 6)).astype(np.float32)
    planes = LabelPlanes()
    out = ops.convert_to_numpy(planes(images, labels))
    inferred = planes.compute_output_spec(*(keras.KerasTensor(each.shape) for each in (images, labels)))
    assert out.shape == (3, 4, 5, 8) == inferred.shape
    np.testing.assert_array_equal(out[..., :2], images)
    for row in range(3):
        for k in range(6):
            assert (out[row, :, :, 2 + k] == labels[row, k]).all()


def test_an_offset_is_added_to_what_the_first_layer_answers():
    drawing = SMALL["generator"]()
    person = with_offset(drawing)
    inputs = random_inputs(drawing, 3)
    width = person.inputs[2].shape[1]
    nothing, offset = np.zeros((3, width), np.float32), np.linspace(-1, 1, 3 * width, dtype=np.float32).reshape(3, -1)
    plain = output(person, [*inputs, nothing])
    np.testing.assert_allclose(plain, output(drawing, inputs), atol=1e-5)
    # The same face as from a first layer whose bias is larger by just that.
    first = next(layer for layer in drawing.layers if isinstance(layer, keras.layers.Dense))
    shifted = output(person, [*inputs, np.tile(offset[1], (3, 1))])
    first.bias.assign(first.bias + offset[1])
    np.testing.assert_allclose(shifted, output(drawing, inputs), atol=1e-5)
    assert np.abs(shifted - plain).max() > 1e-3


def test_the_reference_s_offset_is_as_wide_as_files_say():
    assert with_offset(generator()).inputs[2].shape == (None, OFFSET_SIZE)


def test_features_of_a_recogniser_are_its_maps_from_fine_to_coarse_and_its_embedding():
    network = recognizer()
    *maps, embedding = with_features(network)(random_inputs(network, 2)[0], training=False)
    assert [tuple(part.shape[1:]) for part in maps] == [(32, 32, 32), (16, 16, 64), (8, 8, 128), (4, 4, 256)]
    np.testing.assert_allclose(embedding, output(network, random_inputs(network, 2)), atol=1e-5)


def test_feature_difference_is_that_of_directions():
    random = np.random.default_rng(0)
    one, other = ([random.standard_normal((2, side, side, 5)).astype(np.float32) for side in (4, 2)] for _ in range(2))

    def unit(part):
        return part / np.linalg.norm(part, axis=-1, keepdims=True)

    expected = np.mean(
        [np.square(unit(a) - unit(b)).sum(-1).mean((1, 2)) for a, b in zip(one, other, strict=True)], axis=0
    )
    np.testing.assert_allclose(feature_difference(one, other), expected, rtol=1e-4)
    np.testing.assert_allclose(feature_difference(one, [3 * part for part in one]), 0, atol=1e-5)
    np.testing.assert_allclose(feature_difference(one, [-part for part in one]), 4, rtol=1e-4)


def test_faces_that_differ_at_their_landmarks_differ_most():
    weights = landmark_weights()
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(weights, weights[:, ::-1], atol=1e-9)
    face = np.zeros((3, 64, 64, 3), np.float32)
    other = face.copy()
    # All of it, then as many pixels around an eye and of the forehead's middle.
    other[0] = -0.5
    other[1, 15:22, 16:23] = 0.5
    other[2, 3:10, 28:35] = 0.5
    whole, eye, forehead = ops.convert_to_numpy(landmark_difference(face, other))
    assert whole == pytest.approx(0.5, abs=1e-5)
    everywhere_alike = 0.5 * 7 * 7 / 64**2
    assert eye > 5 * everywhere_alike
    assert forehead < 0.1 * everywhere_alike


def test_whitened_latents_are_those_of_random_faces_and_draw_the_same():
    encoding, drawing = encoder(width=8), generator(width=16)
    random = np.random.default_rng(0)
    for network in (encoding, drawing):
        network.set_weights([w + 0.05 * random.standard_normal(w.shape) for w in network.get_weights()])
    faces = random.integers(0, 256, (MIN_FACES, 64, 64, 3), np.uint8)
    # So that their latents differ in more than noise.
    faces = (faces * random.random((MIN_FACES, 1, 1, 3))).astype(np.uint8)
    ages = one_hot(random.integers(0, 6, MIN_FACES))
    latents = predict(encoding, faces)
    before = draw(drawing, latents, ages).astype(int)
    assert np.abs(np.cov(latents.T) - np.eye(100)).max() > 0.5
    whiten_latents(encoding, drawing, latents)
    whitened = predict(encoding, faces)
    np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-2)
    variances = np.linalg.eigvalsh(np.cov(whitened.T))
    # Directions that have next to no variance stay next to nothing.
    assert variances.max() == pytest.approx(1, abs=0.01)
    assert np.abs(draw(drawing, whitened, ages) - before).max() <= 1
