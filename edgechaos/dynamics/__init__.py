"""What an iterated map does: Lyapunov exponents, Jacobian norms (Eq. 1), the simulated phase diagram (Fig. 1b)."""
