# apikey in the official image of PostgreSQL:
#
#	docker build -t postgres-apikey .
#	docker build -t postgres-apikey --build-arg PG_MAJOR=17 .
#
# or an image of the extension alone, for CloudNativePG and what else mounts extensions
# into a server (extension_control_path, PostgreSQL 18):
#
#	docker build -t apikey --target extension .

ARG PG_MAJOR=18

# The headers are of the image's own minor version, for a library may not load into an
# older one: if they are no longer to be had, the image is old.
FROM postgres:${PG_MAJOR} AS build
RUN apt-get update
RUN apt-get install -y --no-install-recommends gcc libc6-dev make postgresql-server-dev-$PG_MAJOR=$PG_VERSION
WORKDIR /usr/src/apikey
COPY Makefile apikey.control ./
COPY src src
RUN make with_llvm=no extension-image DESTDIR=/image

FROM scratch AS extension
COPY LICENSE /licenses/apikey/
COPY --from=build /image/ /

# PG_MAJOR, like PG_VERSION, is a variable of that image, too.
FROM postgres:${PG_MAJOR}
COPY --from=build /image/lib/ /usr/lib/postgresql/${PG_MAJOR}/lib/
COPY --from=build /image/share/extension/ /usr/share/postgresql/${PG_MAJOR}/extension/
