"""What every model shares: parameter types, the mixer interface, norms, embeddings, backbone, heads."""
