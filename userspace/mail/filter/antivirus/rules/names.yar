// Names that lie.

rule turned_program
{
    meta:
        name = "Name.Turned"
        verdict = "found"
        weight = 10
        reason = "turns its name around, so that it does not look like the program that it is"
    condition:
        file_turned and not file_shown
        and (file_opening == "program" or file_opening == "script" or file_opening == "link"
             or file_opening == "disk" or file_format endswith "-program")
}

rule turned
{
    meta:
        name = "Name.Invisible"
        verdict = "suspicious"
        weight = 4
        reason = "has letters in its name that can't be seen"
    condition:
        file_turned and not file_shown
}

rule double_extension
{
    meta:
        name = "Name.Double"
        verdict = "found"
        weight = 10
        reason = "looks like a document, and is none"
    condition:
        file_double and not file_shown
}

rule padded
{
    meta:
        name = "Name.Padded"
        verdict = "found"
        weight = 10
        reason = "hides the end of its name behind blanks"
    condition:
        file_padded and not file_shown
}

rule outward
{
    meta:
        name = "Name.Outward"
        verdict = "suspicious"
        weight = 5
        reason = "would be unpacked to a folder that it has no business in"
    condition:
        file_outward and file_depth > 0
        and (file_parent == "zip" or file_parent == "tar" or file_parent == "7z" or file_parent == "rar"
             or file_parent == "cpio" or file_parent == "cabinet")
}
