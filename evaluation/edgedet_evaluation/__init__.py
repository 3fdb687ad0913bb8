"""How good a package is: data-set readers, accuracy, paired intervals."""
