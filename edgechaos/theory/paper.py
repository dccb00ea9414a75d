"""The numbers of the paper's run of Fig. 2, from which its other figures are varied."""

from edgechaos.theory.scaling import scale_factor

LEARNING_RATE = 0.02  # eta
MOMENTUM = 0.5  # alpha
BATCH_SIZE = 32  # B
NUM_SAMPLES = 60_000  # S of Fashion-MNIST
CONSTANT_D = 10.96  # D of Eq. 5: mean of the authors' recorded slopes over eta / B, which differ by 1 %
SCALE_FACTOR = float(scale_factor(LEARNING_RATE, MOMENTUM, BATCH_SIZE))  # eta / ((1 - alpha) B) = 0.00125
WEIGHT_DECAY = 9e-5  # lambda of the best run of Fig. 6
# slopes A of Fig. 3b, alpha 0 and B 32, as the authors recorded them: eta -> A
SLOPES = {
    0.0005: 0.000170,
    0.001: 0.000338,
    0.002: 0.000681,
    0.003: 0.00103,
    0.005: 0.00172,
    0.007: 0.00242,
    0.01: 0.00342,
    0.02: 0.00688,
    0.05: 0.0171,
    0.1: 0.0345,
}
