"""Lists of meters that other systems wrote: Gurux, GXF, vendors' key files. They become records of this one."""
