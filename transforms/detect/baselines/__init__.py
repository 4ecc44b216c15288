"""Learned detection: what is normal for one signal, learned from its own past. Pure, without Beam."""
