"""Whether the entries of a kernel look as the theory assumes: independent, with tails like those of a normal one."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from edgechaos.diagnosis.safetensors import release

_PIECE = 2**20  # entries in float64 at once
_WHOLE = 2**24  # entries, up to which a kernel is kept in float32 between two products
_FEW = 4  # singular values
_ITERATIONS = 12
_PROBES = 64  # random signs that tell the effective size to a few per cent
_CLEAR = 5  # standard errors of the null distribution
# of the Tracy-Widom law of order 1 (mean -1.2, standard deviation 1.3): exceeded once in some million kernels
_CLEAR_EDGE = 7.0
_HEAVY = 1.0  # excess kurtosis; the standard error of J^2 is sqrt((2 + it) / entries), a fifth more than is shown

_Piece = tuple[slice, Float[np.ndarray, "some columns"]]


class Moments(NamedTuple):
    """Of all entries: mean, variance and excess kurtosis, which is NaN where the variance is 0."""

    mean: float
    variance: float
    kurtosis: float


class Entries(NamedTuple):
    """What `examine` finds.

    Attributes:
      kurtosis: excess kurtosis of the entries; 0 for normal ones, -1.2 for uniform ones.
      norm_shares: share of |W - mean|_F^2 in each of the four largest singular values.
      symmetry: correlation of W_ij with W_ji, i != j; NaN unless inputs and outputs are as many.
      effective_size: N of independent entries with as many directions; NaN unless it is a map.
      gain: by how much J^2 is larger for a small state, whose weights in and out correlate in size; likewise.
    """

    kurtosis: float
    norm_shares: tuple[float, ...]
    symmetry: float
    effective_size: float = np.nan
    gain: float = np.nan


def moments(leaf: Shaped[np.ndarray, "..."]) -> Moments:
    """Mean, variance and excess kurtosis, piece by piece, so that a mapped array is never in memory as a whole."""
    flat = leaf.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        mean = sum(float(piece.sum()) for piece in _doubles(flat)) / flat.size
        sums = np.zeros(2)
        for piece in _doubles(flat):
            squares = (piece - mean) ** 2
            sums += squares.sum(), squares @ squares
        variance, fourth = sums / flat.size
        kurtosis = fourth / variance / variance - 3
    return Moments(mean, float(variance), float(kurtosis) if np.isfinite(kurtosis) else np.nan)


def _doubles(flat: Shaped[np.ndarray, "entries"]) -> Iterator[Float[np.ndarray, "some"]]:
    """The entries in float64, piece by piece."""
    for first in range(0, flat.size, _PIECE):
        yield flat[first : first + _PIECE].astype(np.float64)
        release(flat)


def examine(matrix: Shaped[np.ndarray, "n_in n_out"], found: Moments, is_map: bool) -> Entries:
    """Kurtosis, norm in the largest singular values, and symmetry.

    The singular values are those of a subspace iteration by products of the kernel with eight vectors; nothing of the
    kernel's size is decomposed. Each is a lower bound, which is close where the value stands out.

    Args:
      matrix: with finite entries, not all the same.
      found: its moments.
      is_map: whether output i is unit i of the next layer's input, so that W_ij and W_ji are a pair.

    >>> signs = np.random.default_rng(0).choice([-1.0, 1.0], (400, 400))
    >>> found = examine(signs, moments(signs), True)
    >>> print(round(found.kurtosis, 3), round(found.norm_shares[0], 4), abs(found.symmetry) < 0.01)
    -2.0 0.0096 True
    """
    # singular values and symmetry are the same for the transposed kernel; rows shall lie together in memory
    rows = matrix if matrix.strides[0] >= matrix.strides[1] else matrix.T
    kept = list(_pieces(rows, found)) if rows.size <= _WHOLE else None
    pieces = (lambda: _pieces(rows, found)) if kept is None else (lambda: kept)
    is_square = matrix.shape[0] == matrix.shape[1]
    norm_shares = _norm_shares(rows.shape, pieces)
    if not (is_map and is_square):
        return Entries(found.kurtosis, norm_shares, np.nan)
    size, gain = _effective(rows.shape, pieces)
    return Entries(found.kurtosis, norm_shares, _symmetry(rows, found, pieces), size, gain)


def _standard(piece: Shaped[np.ndarray, "..."], found: Moments) -> Float[np.ndarray, "..."]:
    """Entries with mean 0 and variance 1, in float32."""
    return ((piece.astype(np.float64) - found.mean) / found.variance**0.5).astype(np.float32)


def _pieces(rows: Shaped[np.ndarray, "rows columns"], found: Moments) -> Iterator[_Piece]:
    """Some rows after the other, standardised, with their places."""
    height = max(_PIECE // rows.shape[1], 1)
    for first in range(0, len(rows), height):
        place = slice(first, min(first + height, len(rows)))
        yield place, _standard(rows[place], found)
        release(rows)


def _norm_shares(shape: tuple[int, int], pieces: Callable[[], Iterable[_Piece]]) -> tuple[float, ...]:
    """Share of the squared norm in the largest singular values, by subspace iteration with twice as many vectors."""
    count, width = (min(number, *shape) for number in (_FEW, 2 * _FEW))
    vectors = np.random.default_rng(0).standard_normal((shape[1], width), np.float32)
    for _ in range(_ITERATIONS):
        frame = np.linalg.qr(vectors)[0]
        vectors, gram = np.zeros_like(frame), np.zeros((width, width))
        for _, piece in pieces():
            image = piece @ frame
            vectors += piece.T @ image
            gram += image.T @ image
    values = np.linalg.eigvalsh(gram)[::-1][:count]
    return tuple(float(value) for value in values / (shape[0] * shape[1]))


def _effective(shape: tuple[int, int], pieces: Callable[[], Iterable[_Piece]]) -> tuple[float, float]:
    """2 (tr G)^2 / tr(G^2) with G = W^T W by random signs, and N sum_i a_i b_i / (sum a)^2 of the norms; one pass."""
    signs = np.random.default_rng(1).choice(np.array([-1, 1], np.float32), (shape[1], _PROBES))
    images, inputs, outputs = np.zeros_like(signs), np.zeros(shape[0]), np.zeros(shape[1])
    for place, piece in pieces():
        images += piece.T @ (piece @ signs)
        squares = piece**2
        inputs[place] = squares.sum(1)
        outputs += squares.sum(0)
    total = inputs.sum()
    square_of_gram = float((images.astype(np.float64) ** 2).sum()) / _PROBES
    return float(2 * total**2 / square_of_gram), float(shape[0] * (inputs @ outputs) / total**2)


def _symmetry(rows: Shaped[np.ndarray, "N N"], found: Moments, pieces: Callable[[], Iterable[_Piece]]) -> float:
    """Correlation of W_ij with W_ji over all i != j."""
    total = square = mixed = trace = diagonal = 0.0
    for place, piece in pieces():
        own = piece[:, place].diagonal().astype(np.float64)
        total, trace = total + float(piece.sum(dtype=np.float64)), trace + float(own.sum())
        square, diagonal = square + float(np.vdot(piece, piece)), diagonal + float(own @ own)
        mixed += float(np.vdot(piece, _standard(rows[:, place].T, found)))
    pairs = len(rows) * (len(rows) - 1)
    mean = (total - trace) / pairs
    variance = (square - diagonal) / pairs - mean**2
    return ((mixed - diagonal) / pairs - mean**2) / variance if variance > 0 else np.nan


def caveats(found: Entries, num_inputs: int, num_outputs: int) -> tuple[str, ...]:
    """Which assumptions of the theory clearly fail, each by a clause, against what independent normal entries have.

    - Heavy tails: a kurtosis above five standard errors sqrt(24 / entries), and above 1, from where on the standard
      error of J^2 is noticeably larger than is shown. Light tails (uniform or truncated entries) do no harm.
    - A singular value that stands out: above the largest of independent entries, whose law is Johnstone's (2001, Ann.
      Statist. 29, 295): mu = (sqrt(n - 1) + sqrt(m))^2, with fluctuations of the Tracy-Widom law. Small changes along
      its vector grow as it says, and not as J says.
    - W_ij and W_ji correlate beyond five standard errors 1 / sqrt(N (N - 1) / 2). A correlation c moves the edge to
      J (1 + c) = 1 (Sommers et al. 1988, Phys. Rev. Lett. 60, 1895), so that this is more than the edge's band.
    """
    size = num_inputs * num_outputs
    said = []
    if found.kurtosis > max(_HEAVY, _CLEAR * (24 / size) ** 0.5):
        said.append(f"heavy tails, excess kurtosis {found.kurtosis:.1f}")
    largest = largest_share(num_inputs, num_outputs)
    if found.norm_shares and found.norm_shares[0] > largest:
        said.append(f"{found.norm_shares[0]:.1%} of the norm in one singular value, {largest:.1%} if independent")
    if abs(found.symmetry) > _CLEAR / (num_inputs * (num_inputs - 1) / 2) ** 0.5:
        said.append(f"W_ij and W_ji correlate by {found.symmetry:.2f}")
    return tuple(said)


def largest_share(num_inputs: int, num_outputs: int) -> float:
    """Share of the squared norm that the largest singular value of independent normal entries hardly ever exceeds."""
    root_n, root_m = (max(num_inputs, num_outputs) - 1) ** 0.5, min(num_inputs, num_outputs) ** 0.5
    if root_n == 0:
        return 1.0
    center, scale = (root_n + root_m) ** 2, (root_n + root_m) * (1 / root_n + 1 / root_m) ** (1 / 3)
    return min((center + _CLEAR_EDGE * scale) / (num_inputs * num_outputs), 1.0)
