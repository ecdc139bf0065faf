-- What was refused is in a folder for purpose 6, which is neither listed nor counted in `mail_box`. All of it expires.
CREATE INDEX mail_folder_rejects ON mail_folder (account) WHERE purpose = 6;
