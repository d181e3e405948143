"""The provider changes: what changed against the complete day right before."""
