// Documents that do more than to be read.

rule macros_that_run
{
    meta:
        name = "Macro.Runs"
        verdict = "found"
        weight = 10
        reason = "is a macro that starts with the document, and starts programs"
    strings:
        $auto_01 = "AutoOpen" ascii nocase
        $auto_02 = "Auto_Open" ascii nocase
        $auto_03 = "AutoExec" ascii nocase
        $auto_04 = "AutoClose" ascii nocase
        $auto_05 = "Auto_Close" ascii nocase
        $auto_06 = "Document_Open" ascii nocase
        $auto_07 = "DocumentOpen" ascii nocase
        $auto_08 = "Document_Close" ascii nocase
        $auto_09 = "Workbook_Open" ascii nocase
        $auto_10 = "Workbook_Activate" ascii nocase
        $auto_11 = "Workbook_BeforeClose" ascii nocase
        $auto_12 = "_Painted" ascii nocase
        $auto_13 = "_Layout" ascii nocase
        $auto_14 = "_MouseMove" ascii nocase
        $run_01 = "WScript.Shell" ascii nocase
        $run_02 = "Shell.Application" ascii nocase
        $run_03 = "powershell" ascii nocase
        $run_04 = "URLDownloadToFile" ascii nocase
        $run_05 = "MSXML2.XMLHTTP" ascii nocase
        $run_06 = "WinHttp.WinHttpRequest" ascii nocase
        $run_07 = "ADODB.Stream" ascii nocase
        $run_08 = "cmd.exe" ascii nocase
        $run_09 = "cmd /c" ascii nocase
        $run_10 = "mshta" ascii nocase
        $run_11 = "regsvr32" ascii nocase
        $run_12 = "rundll32" ascii nocase
        $run_13 = "certutil" ascii nocase
        $run_14 = "Win32_Process" ascii nocase
        $run_15 = "VirtualAlloc" ascii nocase
        $run_16 = "CreateThread" ascii nocase
        $run_17 = "winmgmts:" ascii nocase
        $run_18 = /\bShell[ \t]*\(/ ascii nocase
        $run_19 = "ShellExecute" ascii nocase
    condition:
        file_format == "macro" and any of ($auto_*) and any of ($run_*)
}

rule macros_that_start
{
    meta:
        name = "Macro.Starts"
        verdict = "suspicious"
        weight = 6
        reason = "is a macro that starts with the document"
    strings:
        $auto_01 = "AutoOpen" ascii nocase
        $auto_02 = "Auto_Open" ascii nocase
        $auto_03 = "AutoExec" ascii nocase
        $auto_04 = "Document_Open" ascii nocase
        $auto_05 = "Workbook_Open" ascii nocase
        $auto_06 = "Workbook_Activate" ascii nocase
    condition:
        file_format == "macro" and any of them
}

rule macros
{
    meta:
        name = "Macro.Any"
        verdict = "suspicious"
        weight = 3
        reason = "has macros, which are programs"
    condition:
        file_macros
}

rule macros_without_source
{
    meta:
        name = "Macro.Sourceless"
        verdict = "suspicious"
        weight = 8
        reason = "has macros whose text was taken away, so that nobody sees what they do"
    condition:
        file_sourceless
}

rule macros_as_formulas
{
    meta:
        name = "Macro.Formulas"
        verdict = "suspicious"
        weight = 7
        reason = "has a sheet of macros of an old kind, which hardly anyone uses for good"
    strings:
        $sheet = "<xm:macrosheet" ascii
    condition:
        file_formulas or $sheet in (0 .. 2048)
}

rule template_from_elsewhere
{
    meta:
        name = "Document.RemoteTemplate"
        verdict = "found"
        weight = 9
        reason = "loads its template from the Internet, with whatever programs are in it"
    strings:
        $template = "/attachedTemplate\"" ascii nocase
        $external = /TargetMode\s{0,4}=\s{0,4}["']External/ ascii nocase
        $place_1 = /Target\s{0,4}=\s{0,4}["']https?:/ ascii nocase
        $place_2 = /Target\s{0,4}=\s{0,4}["']file:\/\/\/?\\\\/ ascii nocase
    condition:
        file_extension == "rels" and $template and $external and any of ($place_*)
}

rule object_from_elsewhere
{
    meta:
        name = "Document.RemoteObject"
        verdict = "found"
        weight = 9
        reason = "loads an object from the Internet as soon as it is opened"
    strings:
        $object = "/oleObject\"" ascii nocase
        $frame = "/frame\"" ascii nocase
        $external = /TargetMode\s{0,4}=\s{0,4}["']External/ ascii nocase
        $place = /Target\s{0,4}=\s{0,4}["'](mhtml:|ms-msdt:|x-usc:|https?:)/ ascii nocase
    condition:
        file_extension == "rels" and any of ($object, $frame) and $external and $place
}

rule dynamic_data
{
    meta:
        name = "Document.DDE"
        verdict = "found"
        weight = 9
        reason = "has a field that starts a program"
    strings:
        $field = "DDEAUTO" ascii wide nocase
        $old = "<w:instrText" ascii
        $dde = /[> "]DDE[ "]/ ascii
        $run_1 = "cmd.exe" ascii wide nocase
        $run_2 = "powershell" ascii wide nocase
        $run_3 = "mshta" ascii wide nocase
        $run_4 = "\\system32\\" ascii wide nocase
    condition:
        ($field or ($old and $dde)) and any of ($run_*)
        and (file_parent == "zip" or file_parent == "compound" or file_format == "rtf")
}

rule diagnostics
{
    meta:
        name = "Document.Diagnostics"
        verdict = "found"
        weight = 9
        reason = "calls a tool of Windows that runs what it is told"
    strings:
        $call_1 = "ms-msdt:/id" ascii wide nocase
        $call_2 = "search-ms:query" ascii wide nocase
    condition:
        any of them and not file_shown and file_format != "pdf"
}

rule equation_in_text
{
    meta:
        name = "Exploit.Equation"
        verdict = "found"
        weight = 9
        reason = "has an equation of the kind by which computers are taken over, and opens it by itself"
    strings:
        $object = "\\objdata" ascii
        $update = "\\objupdate" ascii
        $class = "4571756174696f6e2e33" ascii nocase
    condition:
        file_format == "rtf" and all of them
}

rule equation
{
    meta:
        name = "Document.Equation"
        verdict = "suspicious"
        weight = 4
        reason = "has an equation of an old kind, by which computers were taken over"
    strings:
        $class = { 02 CE 02 00 00 00 00 00 C0 00 00 00 00 00 00 46 }
    condition:
        file_format == "compound" and $class
}

rule equation_object
{
    meta:
        name = "Exploit.EquationObject"
        verdict = "suspicious"
        weight = 8
        reason = "has an equation of the kind by which computers are taken over"
    strings:
        $class_1 = "Equation.3" ascii nocase
        $class_2 = "Equation.2" ascii nocase
    condition:
        file_parent == "rtf" and any of them in (0 .. 256)
}

rule text_with_objects
{
    meta:
        name = "Document.Objects"
        verdict = "suspicious"
        weight = 4
        reason = "is rich text with objects that open by themselves"
    strings:
        $object = "\\objdata" ascii
        $update_1 = "\\objupdate" ascii
        $update_2 = "\\objautlink" ascii
    condition:
        file_format == "rtf" and $object and any of ($update_*)
}

rule text_with_template
{
    meta:
        name = "Document.TextTemplate"
        verdict = "suspicious"
        weight = 8
        reason = "is rich text that loads its template from the Internet"
    strings:
        $template = /\\\*\\template[ {]{1,4}https?:/ ascii nocase
    condition:
        file_format == "rtf" and $template
}

rule notebook
{
    meta:
        name = "Document.Notebook"
        verdict = "suspicious"
        weight = 4
        reason = "is a notebook, which hardly anyone sends by mail"
    condition:
        file_format == "onenote"
}

rule notebook_with_script
{
    meta:
        name = "Document.NotebookScript"
        verdict = "found"
        weight = 9
        reason = "lies hidden in a notebook, and starts programs"
    strings:
        $run_1 = "WScript." ascii wide nocase
        $run_2 = "powershell" ascii wide nocase
        $run_3 = "<hta:application" ascii wide nocase
        $run_4 = "CreateObject" ascii wide nocase
        $run_5 = "@echo off" ascii wide nocase
        $run_6 = "cmd /c" ascii wide nocase
        $run_7 = "mshta" ascii wide nocase
        $run_8 = "rundll32" ascii wide nocase
    condition:
        file_parent == "onenote" and any of them
}

rule pdf_that_launches
{
    meta:
        name = "Document.Launch"
        verdict = "found"
        weight = 9
        reason = "is a PDF that starts a program"
    strings:
        $launch = /\/(L|#4c)(a|#61)(u|#75)(n|#6e)(c|#63)(h|#68)[\s\/<(]/ ascii nocase
        $run_1 = "cmd.exe" ascii nocase
        $run_2 = "powershell" ascii nocase
        $run_3 = /\/Win\s{0,4}<</ ascii
    condition:
        (file_format == "pdf" or file_parent == "pdf") and $launch and any of ($run_*)
}

rule pdf_with_script
{
    meta:
        name = "Document.PdfScript"
        verdict = "suspicious"
        weight = 4
        reason = "is a PDF with a script that starts when it is opened"
    strings:
        $script_1 = /\/(J|#4a)(S|#53)[\s\/<(]/ ascii
        $script_2 = /\/(J|#4a)(a|#61)(v|#76)(a|#61)(S|#53)(c|#63)(r|#72)(i|#69)(p|#70)(t|#74)/ ascii
        $open_1 = "/OpenAction" ascii
        $open_2 = "/AA" ascii
        $open_3 = "/Names" ascii
    condition:
        (file_format == "pdf" or file_parent == "pdf") and any of ($script_*) and any of ($open_*)
}

rule program_database
{
    meta:
        name = "Document.Database"
        verdict = "suspicious"
        weight = 5
        reason = "is a database of Access, which runs its macros when it is opened"
    strings:
        $jet = "Standard Jet DB" ascii
        $ace = "Standard ACE DB" ascii
    condition:
        any of them at 4
}
