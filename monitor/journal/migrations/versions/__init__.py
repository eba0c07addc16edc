"""One file per revision, named after what it brought; `revision` numbers them."""
