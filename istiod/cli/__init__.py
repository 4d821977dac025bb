"""The parts of the isthmus command that need istiod's own knowledge, and the composition of the whole command."""
