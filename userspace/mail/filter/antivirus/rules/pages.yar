// Pages that come as files, so that no address is looked at.

rule smuggling
{
    meta:
        name = "Page.Smuggling"
        verdict = "suspicious"
        weight = 7
        reason = "is a page that puts a file together, and has it downloaded"
    strings:
        $decode_1 = "atob(" ascii wide
        $decode_2 = "fromCharCode" ascii wide
        $decode_3 = "Uint8Array" ascii wide
        $decode_4 = "base64," ascii wide
        $make_1 = "new Blob" ascii wide
        $make_2 = "createObjectURL" ascii wide
        $make_3 = "msSaveOrOpenBlob" ascii wide
        $make_4 = "msSaveBlob" ascii wide
        $give_1 = ".download" ascii wide
        $give_2 = /<a[^>]{0,200}\sdownload[\s=>]/ ascii wide nocase
        $give_3 = "msSave" ascii wide
        $give_4 = "location.href" ascii wide
    condition:
        not file_shown and (file_format == "html" or file_format == "svg" or file_opening == "page" or file_extension == "js")
        and any of ($decode_*) and any of ($make_*) and any of ($give_*)
}

rule smuggled
{
    meta:
        name = "Page.Archive"
        verdict = "found"
        weight = 9
        reason = "is an archive that lies hidden among the letters of a page"
    condition:
        (file_parent == "html" or file_parent == "svg" or file_parent == "script")
        and (file_format == "zip" or file_format == "rar" or file_format == "7z" or file_format == "disk"
             or file_format == "cabinet" or file_format == "gzip" or file_format == "tar" or file_format == "onenote")
}

rule page_with_password
{
    meta:
        name = "Page.Password"
        verdict = "suspicious"
        weight = 7
        reason = "is a page that asks for a password, and comes as a file"
    strings:
        $field = /<input[^>]{0,300}type\s{0,2}=\s{0,2}["']?password/ ascii wide nocase
        $send_1 = /action\s{0,2}=\s{0,2}["']?https?:/ ascii wide nocase
        $send_2 = "XMLHttpRequest" ascii wide
        $send_3 = "fetch(" ascii wide
        $send_4 = "$.ajax" ascii wide
        $send_5 = "$.post" ascii wide
        $send_6 = "api.telegram.org" ascii wide nocase
    condition:
        not file_shown and (file_format == "html" or file_format == "svg" or file_opening == "page")
        and $field and any of ($send_*)
}

rule obfuscated_page
{
    meta:
        name = "Page.Obfuscated"
        verdict = "suspicious"
        weight = 5
        reason = "is a page that hides what it does"
    strings:
        $hide_1 = /eval\s{0,2}\(\s{0,2}(atob|unescape|decodeURIComponent|String\.fromCharCode)/ ascii wide nocase
        $hide_2 = /document\.write\s{0,2}\(\s{0,2}(atob|unescape|decodeURIComponent)/ ascii wide nocase
        $hide_3 = /location(\.href)?\s{0,2}=\s{0,2}atob\(/ ascii wide nocase
        $hide_4 = /location\.(replace|assign)\(\s{0,2}atob\(/ ascii wide nocase
        $hide_5 = "eval(function(p,a,c,k,e," ascii wide
        $hide_6 = /var _0x[0-9a-f]{4,6}\s{0,2}=\s{0,2}\[/ ascii wide
    condition:
        not file_shown and (file_format == "html" or file_format == "svg" or file_opening == "page") and any of them
}

rule image_with_script
{
    meta:
        name = "Page.ImageScript"
        verdict = "suspicious"
        weight = 6
        reason = "is an image with a script in it"
    strings:
        $script = "<script" ascii wide nocase
        $event = /\son(load|click|error|begin)\s{0,2}=/ ascii wide nocase
        $frame = "<foreignObject" ascii wide nocase
        $leads = /javascript:/ ascii wide nocase
    condition:
        file_format == "svg" and not file_shown and ($script or $event or $leads or ($frame and filesize > 4KB))
}

rule page_that_leads_on
{
    meta:
        name = "Page.Leads"
        verdict = "suspicious"
        weight = 4
        reason = "is a page that leads to another one as soon as it is opened"
    strings:
        $refresh = /<meta[^>]{0,100}http-equiv\s{0,2}=\s{0,2}["']?refresh[^>]{0,100}url\s{0,2}=/ ascii wide nocase
        $script = /(window|document|self|top)\.location(\.href)?\s{0,2}=\s{0,2}["'`]https?:/ ascii wide nocase
    condition:
        file_depth == 0 and not file_shown and (file_format == "html" or file_format == "svg") and filesize < 16KB and any of them
}
