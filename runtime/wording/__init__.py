"""Every sentence that marketers and operators read, in one place."""
