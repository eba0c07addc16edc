"""levmon: exact health of leveraged positions on EVM chains."""
