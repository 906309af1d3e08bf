"""Forms of models that compute their loss and its gradients in a few compiled passes."""
