"""A PBX that plays a recording of a real one: it speaks AMI, so that the whole product runs without an Asterisk."""
