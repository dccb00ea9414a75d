"""Order-chaos research on neural network training, in JAX.

The library measures where a network stands in the order-chaos phase diagram, how fast training moves it, and which
weight decay holds it at the edge of chaos. The names follow "Edge of chaos as a guiding principle for modern neural
network training" (Zhang, Feng, Chen, Lai). Everything exported here is a pure function that works under jit and vmap
where its arguments are arrays.
"""

from edgechaos._version import __version__
from edgechaos.diagnosis.depth import DepthLaw
from edgechaos.diagnosis.effective import EffectiveOrderParameters, effective_order_parameters
from edgechaos.diagnosis.guideline import Recommendation, recommend
from edgechaos.diagnosis.jacobians import JacobianProfile, jacobian_profile
from edgechaos.diagnosis.monitoring import monitor, monitored
from edgechaos.diagnosis.report import phase_report
from edgechaos.diagnosis.rows import PhaseReport
from edgechaos.diagnosis.taps import Taps, tap
from edgechaos.diagnosis.tracking import metrics
from edgechaos.dynamics.diagram import phase_diagram
from edgechaos.dynamics.lyapunov import (
    Lyapunov,
    Verdict,
    lyapunov_exponent,
    lyapunov_spectrum,
    order_or_chaos,
)
from edgechaos.dynamics.twins import jacobian_norm, twin_trajectories
from edgechaos.theory.meanfield import FixedPoint, chi, edge_of_chaos, fixed_point, predicted_exponent
from edgechaos.theory.replicas import overlap, predicted_distance
from edgechaos.theory.scaling import (
    LinearFit,
    ScalingVerdict,
    epochs_to,
    fit_slope,
    j_squared_after,
    relaxation_rate,
    scale_factor,
    scaling_verdict,
    weight_decay_at_edge,
)
from edgechaos.theory.weight_decay import Setting, convert_weight_decay, half_life
from edgechaos.training.constraints import keep_norm
from edgechaos.training.epochs import Hyperparameters, Spec, make_train
from edgechaos.training.held import HeldDecay, check_hold, held_weight_decay
from edgechaos.training.hold import HoldState, hold_at_edge
from edgechaos.training.kernels import KernelAxes
from edgechaos.training.network import Classifier, hidden_map, init_kernel
from edgechaos.training.optim import adam, sgd
from edgechaos.training.order import OrderParameters, order_parameter_errors, order_parameters

__all__ = [
    "Classifier",
    "DepthLaw",
    "EffectiveOrderParameters",
    "FixedPoint",
    "HeldDecay",
    "HoldState",
    "Hyperparameters",
    "JacobianProfile",
    "KernelAxes",
    "LinearFit",
    "Lyapunov",
    "OrderParameters",
    "PhaseReport",
    "Recommendation",
    "ScalingVerdict",
    "Setting",
    "Spec",
    "Taps",
    "Verdict",
    "__version__",
    "adam",
    "check_hold",
    "chi",
    "convert_weight_decay",
    "edge_of_chaos",
    "effective_order_parameters",
    "epochs_to",
    "fit_slope",
    "fixed_point",
    "half_life",
    "held_weight_decay",
    "hidden_map",
    "hold_at_edge",
    "init_kernel",
    "j_squared_after",
    "jacobian_norm",
    "jacobian_profile",
    "keep_norm",
    "lyapunov_exponent",
    "lyapunov_spectrum",
    "make_train",
    "metrics",
    "monitor",
    "monitored",
    "order_or_chaos",
    "order_parameter_errors",
    "order_parameters",
    "overlap",
    "phase_diagram",
    "phase_report",
    "predicted_distance",
    "predicted_exponent",
    "recommend",
    "relaxation_rate",
    "scale_factor",
    "scaling_verdict",
    "sgd",
    "tap",
    "twin_trajectories",
    "weight_decay_at_edge",
]
