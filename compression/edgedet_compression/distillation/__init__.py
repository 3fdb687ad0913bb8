"""Distillation: students that learn from a teacher's outputs."""
