"""The numbers of the paper's run of Fig. 2, from which its other figures are varied."""

from edgechaos.theory.scaling import scale_factor

LEARNING_RATE = 0.02  # eta
MOMENTUM = 0.5  # alpha
BATCH_SIZE = 32  # B
NUM_SAMPLES = 60_000  # S of Fashion-MNIST
CONSTANT_D = 10.96  # D of Eq. 5: mean of the authors' recorded slopes over eta / B, which differ by 1 %
SCALE_FACTOR = float(scale_factor(LEARNING_RATE, MOMENTUM, BATCH_SIZE))  # eta / ((1 - alpha) B) = 0.00125
