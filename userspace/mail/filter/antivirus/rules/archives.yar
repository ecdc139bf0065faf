// What can't be looked into.

rule encrypted_archive
{
    meta:
        name = "Archive.Encrypted"
        verdict = "suspicious"
        weight = 5
        reason = "is an archive that nobody can look into without its password"
    condition:
        file_encrypted and not file_sealed
        and (file_format == "zip" or file_format == "rar" or file_format == "7z")
}

rule encrypted_document
{
    meta:
        name = "Document.Encrypted"
        verdict = "suspicious"
        weight = 4
        reason = "is a document that nobody can look into without its password"
    condition:
        file_encrypted and file_format == "compound"
}

rule encrypted_pdf
{
    meta:
        name = "Document.EncryptedPdf"
        verdict = "suspicious"
        weight = 2
        reason = "is an encrypted PDF, of which not everything can be looked at"
    condition:
        file_encrypted and file_format == "pdf"
}

rule hidden_archive
{
    meta:
        name = "Archive.Hidden"
        verdict = "suspicious"
        weight = 6
        reason = "has an archive hidden in it"
    condition:
        file_hidden and not file_format endswith "-program"
}

rule unsupported_archive
{
    meta:
        name = "Archive.Unsupported"
        verdict = "suspicious"
        weight = 4
        reason = "is packed in a way that can't be looked into here"
    condition:
        file_unsupported and file_format != "old-archive"
}

rule old_archive
{
    meta:
        name = "Archive.Old"
        verdict = "suspicious"
        weight = 6
        reason = "is an archive of a kind that is hardly used any more, and can't be looked into here"
    condition:
        file_format == "old-archive" and not file_shown
}

rule broken_archive
{
    meta:
        name = "Archive.Broken"
        verdict = "suspicious"
        weight = 3
        reason = "is damaged, so that not everything in it could be looked at"
    condition:
        file_broken and not file_sealed
        and (file_format == "zip" or file_format == "rar" or file_format == "7z" or file_format == "tar"
             or file_format == "gzip" or file_format == "bzip2" or file_format == "xz" or file_format == "zstd"
             or file_format == "cabinet" or file_format == "cpio" or file_format == "tnef")
}

rule ambiguous_archive
{
    meta:
        name = "Archive.Ambiguous"
        verdict = "suspicious"
        weight = 6
        reason = "describes its files twice and differently, so that a scanner sees others than a reader"
    condition:
        file_ambiguous
}

rule disk
{
    meta:
        name = "Archive.Disk"
        verdict = "found"
        weight = 7
        reason = "is the image of a disk, whose files open without the warning for what comes from the Internet"
    condition:
        file_format == "disk"
}

rule disk_by_name
{
    meta:
        name = "Archive.DiskName"
        verdict = "suspicious"
        weight = 5
        reason = "has the name of an image of a disk"
    condition:
        file_opening == "disk" and file_format != "disk" and not file_shown
}
