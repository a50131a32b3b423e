"""Frequencies, coders and digits: exact sums, symbols that come back, and bits as many as they must be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from chainrule.compression.coders import ANY, Decoder, Encoder, Prober
from chainrule.compression.frequencies import PRECISION, weights_of
from chainrule.compression.lines import LARGEST_SYMBOL, code_on_line
from chainrule.compression.missing import code_missing, describe_missing
from chainrule.errors import StorageError


@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(2, 300), st.integers(0, 30))
def test_frequencies_sum_to_a_power_of_two_and_none_is_zero(seed, n, n_levels, sharpness):
    rng = np.random.default_rng(seed)
    masses = rng.random((n, n_levels)) ** sharpness * 10.0 ** rng.integers(-300, 4)
    masses[rng.random(masses.shape) < 0.3] = 0.0
    frequencies = weights_of(masses) + 1
    assert (frequencies == np.rint(frequencies)).all() and (frequencies >= 1).all()
    assert (frequencies.sum(axis=1) == 2**PRECISION).all()
    total = masses.sum(axis=1, keepdims=True)
    shares = np.divide(masses, total, out=np.full_like(masses, 1 / n_levels), where=total > 1e-200)
    np.testing.assert_allclose(frequencies / 2**PRECISION, shares, atol=2 * n_levels / 2**PRECISION)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_masses_that_are_no_numbers_are_refused(bad):
    with pytest.raises(FloatingPointError):
        weights_of(np.array([[0.5, bad]]))


@given(st.integers(0, 2**32 - 1))
def test_pieces_come_back_in_the_sequence_in_which_they_are_read(seed):
    rng = np.random.default_rng(seed)
    pieces = []
    for _ in range(rng.integers(1, 4)):
        steps = [(int(rng.integers(1, 9)), int(rng.integers(2, 40))) for _ in range(rng.integers(1, 4))]
        pieces.append([(rng.random((n, k)) ** 4, rng.integers(0, k, n)) for n, k in steps])
    encoder = Encoder()
    for piece in encoder.sequence(pieces):
        for masses, symbols in piece:
            assert (encoder.code(masses, symbols) == symbols).all()
        encoder.end_piece()
    decoder = Decoder(encoder.words())
    for piece in decoder.sequence(pieces):
        for masses, symbols in piece:
            assert (decoder.code(masses, np.zeros_like(symbols)) == symbols).all()
        decoder.end_piece()


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_coder_takes_the_bits_of_the_frequencies(order):
    rng = np.random.default_rng(0)
    chance = np.full(200_000, 1e-3)
    symbols = (rng.random(len(chance)) < chance).astype(np.int64)
    encoder = Encoder()
    encoder.code(np.asarray(np.stack([1 - chance, chance], axis=1), order=order), symbols)
    encoder.end_piece()
    ideal = -np.log2(np.where(symbols == 1, chance, 1 - chance)).sum()
    assert ideal - 1 < 8 * len(encoder.words()) < ideal + 80


def test_of_any_symbol_the_most_probable_is_written():
    masses = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    encoder = Encoder()
    assert encoder.code(masses, np.array([-1, 1])).tolist() == [2, 1]
    encoder.end_piece()
    assert Decoder(encoder.words()).code(masses, np.zeros(2)).tolist() == [2, 1]


def test_words_that_no_coder_writes_are_refused():
    with pytest.raises(StorageError):
        Decoder(bytes(8))


def test_a_probe_tells_the_least_difference():
    digests = set()
    for chance in (0.3, 0.3 + 2**-24, 0.3):
        prober = Prober()
        prober.code(np.array([[1 - chance, chance]]), np.array([0]))
        digests.add(prober.digest())
    assert len(digests) == 2


@given(st.integers(0, 2**32 - 1), st.integers(0, 61))
def test_symbols_on_a_line_come_back(seed, log_width):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    low = rng.integers(-(2**log_width), 2**log_width, n)
    high = np.minimum(low + rng.integers(0, 2**log_width, n), LARGEST_SYMBOL)
    wanted = low + np.floor(rng.random(n) * (high - low + 1)).astype(np.int64)
    wanted = np.clip(wanted, low, high)
    location, scale = rng.normal(size=n) * 2.0**log_width, 2.0 ** rng.integers(-2, log_width + 1, n)

    def reached(at):
        return norm.cdf((at - 0.5 - location[:, None]) / scale[:, None])

    encoder = Encoder()
    assert (code_on_line(encoder, reached, low, high, wanted) == wanted).all()
    encoder.end_piece()
    decoder = Decoder(encoder.words())
    assert (code_on_line(decoder, reached, low, high, np.zeros(n, np.int64)) == wanted).all()
    anything = code_on_line(Encoder(), reached, low, high, np.full(n, ANY))
    assert ((low <= anything) & (anything <= high)).all()


def test_digits_take_the_bits_of_the_distribution():
    rng = np.random.default_rng(0)
    n = 5000
    wanted = np.rint(rng.normal(0, 1000, n)).astype(np.int64)
    low, high = np.full(n, wanted.min()), np.full(n, wanted.max())
    encoder = Encoder()
    code_on_line(encoder, lambda at: norm.cdf((at - 0.5) / 1000), low, high, wanted)
    encoder.end_piece()
    ideal = -np.log2(norm.cdf((wanted + 0.5) / 1000) - norm.cdf((wanted - 0.5) / 1000)).sum()
    assert 8 * len(encoder.words()) < ideal + 80


@given(st.integers(0, 2**32 - 1))
def test_missing_cells_come_back(seed):
    rng = np.random.default_rng(seed)
    missing = rng.random((rng.integers(1, 50), rng.integers(1, 6))) < rng.random()
    missing[:, -1] = missing[:, 0]
    described, encoder = describe_missing(missing), Encoder()
    code_missing(encoder, described, missing)
    encoder.end_piece()
    assert (code_missing(Decoder(encoder.words()), described, np.zeros_like(missing)) == missing).all()
