"""What is predicted: mean-field theory (Eq. 3), scaling laws (Eqs. 4 to 9), weight decay in its conventions."""
