{{/* The chart is one installation of a namespace: its objects have fixed names, as without Helm. */}}
{{- define "labels" -}}
app.kubernetes.io/part-of: qwen3-embedding-router
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "config" -}}
{{ .Values.config | default (.Files.Get "config.yaml") }}
{{- end }}
{{- define "several" -}}
{{ if ne .Values.store "sqlite" }}yes{{ end }}
{{- end }}
