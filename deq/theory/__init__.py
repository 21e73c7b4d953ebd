"""Theory: kernels, the theorem's conditions and bound, predicted and fitted rates."""
