//! Reading a log: keys, checkpoints, proofs, and whether a directory is what its signer says.
