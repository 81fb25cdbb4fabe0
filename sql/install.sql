\a \t
-- What the other tests use.

-- run a command; tell how it ended
CREATE FUNCTION attempt(command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
BEGIN
	EXECUTE command;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, message, nullif(detail, ''));
END $$;

-- a key's text made of its parts, with the right checksum: base62 and CRC-32
-- written again here, without a line of the extension's
CREATE FUNCTION base62(bytes bytea, width int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	digits text = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
	value numeric = 0;
	result text = '';
BEGIN
	FOR i IN 0 .. length(bytes) - 1 LOOP
		value = value * 256 + get_byte(bytes, i);
	END LOOP;
	FOR i IN 1 .. width LOOP
		result = substr(digits, mod(value, 62)::int + 1, 1) || result;
		value = div(value, 62);
	END LOOP;
	RETURN result;
END $$;
CREATE FUNCTION crc32(data text) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	crc bigint = 4294967295;
BEGIN
	FOR i IN 1 .. length(data) LOOP
		crc = crc # ascii(substr(data, i, 1));
		FOR bit IN 1 .. 8 LOOP
			crc = CASE crc & 1 WHEN 1 THEN (crc >> 1) # 3988292384 ELSE crc >> 1 END;
		END LOOP;
	END LOOP;
	RETURN substr(int8send(crc # 4294967295), 5);
END $$;
CREATE FUNCTION token(prefix text, id uuid, secret text) RETURNS text LANGUAGE sql AS $$
	SELECT body || base62(crc32(body), 6)
	FROM (SELECT prefix || '_' || base62(uuid_send(id), 22) || secret) AS t (body)
$$;
SELECT encode(crc32('123456789'), 'hex') AS check_value_of_crc32, base62('\xffffffff', 6);
-- a change by the application itself in a session with a key
CREATE FUNCTION as_application(call text) RETURNS void LANGUAGE plpgsql SET apikey.key = '' AS $$
BEGIN
	EXECUTE 'SELECT ' || call;
END $$;
