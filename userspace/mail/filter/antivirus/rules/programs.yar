// What runs. By what it is, whatever it is called; by name only where a program has no other mark.

rule windows_program
{
    meta:
        name = "Program.Windows"
        verdict = "found"
        weight = 9
        reason = "is a program for Windows, and programs are not let into mailboxes"
    condition:
        file_format == "windows-program"
}

rule unix_program
{
    meta:
        name = "Program.Unix"
        verdict = "found"
        weight = 9
        reason = "is a program for Unix, and programs are not let into mailboxes"
    condition:
        file_format == "unix-program"
}

rule apple_program
{
    meta:
        name = "Program.Apple"
        verdict = "found"
        weight = 9
        reason = "is a program for macOS, and programs are not let into mailboxes"
    condition:
        file_format == "apple-program"
}

rule java_program
{
    meta:
        name = "Program.Java"
        verdict = "found"
        weight = 9
        reason = "is a program in Java or for Android, and programs are not let into mailboxes"
    condition:
        file_format == "java-program"
}

rule windows_link
{
    meta:
        name = "Program.Link"
        verdict = "found"
        weight = 9
        reason = "is a link that starts a program when it is opened"
    condition:
        file_format == "windows-link"
}

rule windows_help
{
    meta:
        name = "Program.Help"
        verdict = "found"
        weight = 8
        reason = "is a help file, which can run programs when it is opened"
    condition:
        file_format == "windows-help"
}

rule program_by_name
{
    meta:
        name = "Program.Name"
        verdict = "found"
        weight = 8
        reason = "has the name of a program or of something that starts one, and programs are not let into mailboxes"
    condition:
        file_opening == "program" and not file_shown
        and not file_format endswith "-program" and file_format != "windows-link" and file_format != "windows-help"
        // Files are named after sites, too; programs with this ending have no mark.
        and not (file_extension == "com" and (file_format == "image" or file_format == "media" or file_format == "pdf"
                 or file_format == "html" or file_format == "zip" or file_format == "compound"))
}

rule installer
{
    meta:
        name = "Program.Installer"
        verdict = "found"
        weight = 9
        reason = "installs a program, and programs are not let into mailboxes"
    strings:
        $package = { 84 10 0C 00 00 00 00 00 C0 00 00 00 00 00 00 46 }
        $patch = { 86 10 0C 00 00 00 00 00 C0 00 00 00 00 00 00 46 }
        $root = { 52 00 6F 00 6F 00 74 00 20 00 45 00 6E 00 74 00 72 00 79 00 }
    condition:
        file_format == "compound" and $root
        // What the whole is stands in the first entry of its directory.
        and for any of ($package, $patch) : ($ at @root + 80)
}

rule script
{
    meta:
        name = "Script.Attached"
        verdict = "found"
        weight = 8
        reason = "is a script, which runs like a program when it is opened"
    condition:
        file_opening == "script" and not file_shown
        and (
            file_depth == 0
            // Who writes programs sends folders full of them; who wants one to be opened sends one.
            or file_siblings <= 3
            or file_extension == "vbs" or file_extension == "vbe" or file_extension == "jse"
            or file_extension == "wsf" or file_extension == "wsh" or file_extension == "wsc"
            or file_extension == "sct" or file_extension == "hta"
        )
}

rule script_among_others
{
    meta:
        name = "Script.Packed"
        verdict = "suspicious"
        weight = 2
        reason = "is a script among other files"
    condition:
        file_opening == "script" and file_depth > 0 and file_siblings > 3
}

rule source
{
    meta:
        name = "Script.Source"
        verdict = "suspicious"
        weight = 1
        reason = "is the source of a program"
    condition:
        (file_opening == "source" or file_format == "script") and not file_shown
}

rule script_that_loads
{
    meta:
        name = "Script.Loader"
        verdict = "found"
        weight = 9
        reason = "is a script that loads a program and runs it"
    strings:
        $shell_1 = "WScript.Shell" ascii wide nocase
        $shell_2 = "Shell.Application" ascii wide nocase
        $shell_3 = "powershell" ascii wide nocase
        $shell_4 = "mshta" ascii wide nocase
        $load_1 = "MSXML2.XMLHTTP" ascii wide nocase
        $load_2 = "WinHttp.WinHttpRequest" ascii wide nocase
        $load_3 = "DownloadFile" ascii wide nocase
        $load_4 = "DownloadString" ascii wide nocase
        $load_5 = "Invoke-WebRequest" ascii wide nocase
        $load_6 = "ADODB.Stream" ascii wide nocase
        $load_7 = "Start-BitsTransfer" ascii wide nocase
        $load_8 = "certutil" ascii wide nocase
        $load_9 = "FromBase64String" ascii wide nocase
    condition:
        not file_shown
        and (file_opening == "script" or file_opening == "link" or file_parent == "onenote")
        and any of ($shell_*) and any of ($load_*)
}

rule link
{
    meta:
        name = "Link.Attached"
        verdict = "suspicious"
        weight = 4
        reason = "is a file that leads to somewhere else when it is opened"
    condition:
        file_opening == "link" and not file_shown
}

rule link_to_share
{
    meta:
        name = "Link.Share"
        verdict = "found"
        weight = 9
        reason = "leads to a file on somebody else's computer, which runs when it is opened"
    strings:
        $file = "URL=file:" ascii nocase
        $share = "URL=\\\\" ascii nocase
        $icon = "IconFile=\\\\" ascii nocase
    condition:
        file_opening == "link" and not file_shown and any of them
}

rule query_that_runs
{
    meta:
        name = "Link.Query"
        verdict = "found"
        weight = 9
        reason = "is a table whose formula starts a program"
    strings:
        $command_1 = "=cmd|" ascii nocase
        $command_2 = "+cmd|" ascii nocase
        $command_3 = "-cmd|" ascii nocase
        $command_4 = "@cmd|" ascii nocase
        $command_5 = "MSEXCEL|" ascii nocase
        $command_6 = "=powershell|" ascii nocase
    condition:
        not file_shown and any of them
        and (file_extension == "csv" or file_extension == "slk" or file_extension == "iqy" or file_extension == "xls")
}
