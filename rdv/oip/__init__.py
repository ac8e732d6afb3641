"""Encodes and decodes the Open Inference Protocol V2, by which clients of model servers ask. Pure.

A decision looks like one model: its schedules are the model's versions, each row of the tensors is
a request, and each field of the answers is an output tensor. `rest` has the JSON form with the
binary tensor extension, `grpc_messages` the messages of gRPC; both become an `InferRequest` and
come from an `InferResponse`. Of the rest of rdv it knows only the rule for JSON (`rdv.payload`).

Source: https://github.com/kserve/open-inference-protocol and Triton's binary_data extension.
"""
